"""From finished engine requests to a row.

Owns: the `chat.completion` object and the typed columns of a result. Must not know: how requests
were run, where rows go. Ids and times of creation follow from the job alone, so that a retry
answers with the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import xxhash

from engine.request import FinishReason, Request
from engine.tokenizer import Tokenizer
from schemas.chat import ChatCompletionRequest
from schemas.chat_response import ChatCompletionResponse, Choice, ResponseMessage, Usage
from schemas.errors import ApiError
from schemas.json_text import canonical_json
from schemas.result import ResultRow
from worker.job import HeldJob, PreparedJob

__all__ = ["AnswerWriter"]


@dataclass(frozen=True, slots=True)
class AnswerWriter:
    """Writes rows in the name of one worker. `fingerprint` says what computed them."""

    tokenizer: Tokenizer
    consumer: str
    fingerprint: str

    def answer(self, job: HeldJob, prepared: PreparedJob) -> ResultRow:
        """The 200 row of a job whose requests all ended by themselves or at their limit."""
        requests, chat = prepared.requests, prepared.chat
        choices = [self._choice(request, chat) for request in requests]
        first = requests[0]
        usage = Usage.of(
            prompt_tokens=first.num_prompt_tokens,
            completion_tokens=sum(request.num_output_tokens for request in requests),
            cached_tokens=min(first.num_cached_tokens or 0, first.num_prompt_tokens),
        )
        response = ChatCompletionResponse(
            id=_completion_id(job),
            created=job.lease.enqueued_ms // 1000,
            model=chat.model,
            choices=choices,
            usage=usage,
            system_fingerprint=self.fingerprint,
        )
        return ResultRow(
            idx=job.lease.idx,
            custom_id=job.lease.custom_id,
            status_code=200,
            model=chat.model,
            finish_reason=choices[0].finish_reason,
            content=choices[0].message.content,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.prompt_tokens_details.cached_tokens,
            completion_tokens=usage.completion_tokens,
            reasoning_tokens=0,
            attempt=job.lease.attempt,
            worker=self.consumer,
            fingerprint=self.fingerprint,
            queue_s=job.queue_s,
            ttft_s=_first_token_s(job, requests),
            e2e_s=monotonic() - job.leased_s,
            request_hash=prepared.request_hash,
            response_json=response.to_json(),
        )

    def refuse(self, job: HeldJob, error: ApiError, *, request_hash: str | None) -> ResultRow:
        """The row of a job that got an error instead of an answer."""
        return ResultRow(
            idx=job.lease.idx,
            custom_id=job.lease.custom_id,
            status_code=error.status_code,
            model=job.lease.model,
            error_code=error.code,
            error_message=error.message,
            attempt=job.lease.attempt,
            worker=self.consumer,
            fingerprint=self.fingerprint,
            queue_s=job.queue_s,
            e2e_s=monotonic() - job.leased_s,
            request_hash=request_hash,
            response_json=canonical_json(error.body()).decode(),
        )

    def _choice(self, request: Request, chat: ChatCompletionRequest) -> Choice:
        assert request.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
        return Choice(
            index=request.choice_index,
            message=ResponseMessage(content=self._text(request, chat)),
            finish_reason="stop" if request.finish_reason is FinishReason.STOP else "length",
            stop_reason=request.stop_reason,
        )

    def _text(self, request: Request, chat: ChatCompletionRequest) -> str:
        """What is shown of the output: without the stop string, or the token that ended it."""
        if isinstance(request.stop_reason, str) and request.stop_matcher is not None:
            return request.stop_matcher.text
        tokens = request.output_token_ids
        if request.finish_reason is FinishReason.STOP and not chat.include_stop_str_in_output:
            tokens = tokens[:-1]
        return self.tokenizer.decode(
            tokens, skip_special_tokens=chat.skip_special_tokens is not False
        )


def _completion_id(job: HeldJob) -> str:
    name = f"completion:{job.lease.batch_id}:{job.lease.idx}".encode()
    return f"chatcmpl-{xxhash.xxh3_128_hexdigest(name)}"


def _first_token_s(job: HeldJob, requests: Sequence[Request]) -> float | None:
    times = [request.first_token_s for request in requests if request.first_token_s is not None]
    return max(0.0, min(times) - job.leased_s) if times else None
