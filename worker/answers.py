"""From finished engine requests to a row.

Owns: the `chat.completion` object and the typed columns of a result. Must not know: how requests
were run, where rows go. Ids and times of creation follow from the job alone, so that a retry
answers with the same ones.
"""

from dataclasses import dataclass
from time import monotonic

from engine.parsers.answer import AnswerParser
from engine.request import FinishReason, Request
from engine.tokenizer import Tokenizer
from schemas.chat import ChatCompletionRequest
from schemas.chat_response import ChatCompletionResponse, Choice, Usage
from schemas.errors import ApiError
from schemas.json_text import canonical_json
from schemas.result import ResultRow, ToolCallCell
from schemas.tools import NamedToolChoice
from worker.job import HeldJob, PreparedJob
from worker.logprob_answers import TokenNames, chat_logprobs, prompt_logprobs
from worker.message import ChoiceMessage, MessageReader
from worker.result_rows import answer_id, answered_row

__all__ = ["AnswerWriter"]


@dataclass(frozen=True, slots=True)
class AnswerWriter:
    """Writes rows in the name of one worker. `fingerprint` says what computed them; `parser` finds
    reasoning and calls in the outputs.
    """

    tokenizer: Tokenizer
    consumer: str
    fingerprint: str
    parser: AnswerParser | None = None

    def answer(self, job: HeldJob, prepared: PreparedJob) -> ResultRow:
        """The 200 row of a job whose requests all ended by themselves or at their limit."""
        requests, chat = prepared.requests, prepared.chat
        reader = MessageReader(self.tokenizer, self.parser)
        name = f"{job.lease.batch_id}:{job.lease.idx}"
        said = [
            reader.read(request, chat, f"{name}:{request.choice_index}") for request in requests
        ]
        names = TokenNames(self.tokenizer, bool(chat.return_tokens_as_token_ids))
        choices = [
            _choice(request, one, chat, names) for request, one in zip(requests, said, strict=True)
        ]
        first = requests[0]
        usage = Usage.of(
            prompt_tokens=first.num_prompt_tokens,
            completion_tokens=sum(request.num_output_tokens for request in requests),
            cached_tokens=min(first.num_cached_tokens or 0, first.num_prompt_tokens),
            reasoning_tokens=sum(one.num_reasoning_tokens for one in said),
        )
        response = ChatCompletionResponse(
            id=answer_id("chatcmpl", job),
            created=job.lease.enqueued_ms // 1000,
            model=chat.model,
            choices=choices,
            usage=usage,
            system_fingerprint=self.fingerprint,
            prompt_logprobs=prompt_logprobs(first, chat.prompt_logprobs, names),
            prompt_token_ids=list(first.prompt_token_ids) if chat.return_token_ids else None,
        )
        return answered_row(
            job,
            prepared,
            usage,
            worker=self.consumer,
            fingerprint=self.fingerprint,
            model=chat.model,
            finish_reason=choices[0].finish_reason,
            content=said[0].message.content,
            reasoning=said[0].message.reasoning,
            tool_calls=_tool_call_cells(said[0]),
            tool_arguments_valid=said[0].arguments_are_valid,
            error_code="tool_parse_error" if said[0].parse_error is not None else None,
            error_message=said[0].parse_error,
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


def _choice(
    request: Request, said: ChoiceMessage, chat: ChatCompletionRequest, names: TokenNames
) -> Choice:
    assert request.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
    has_ended = request.finish_reason is FinishReason.STOP
    # A call of a function that the request named is no choice of the model's: it just stops.
    is_call = bool(said.message.tool_calls) and not isinstance(chat.tool_choice, NamedToolChoice)
    return Choice(
        index=request.choice_index,
        message=said.message,
        logprobs=chat_logprobs(request, chat.top_logprobs or 0, names) if chat.logprobs else None,
        finish_reason=("tool_calls" if is_call else "stop") if has_ended else "length",
        stop_reason=request.stop_reason,
        token_ids=list(request.output_token_ids) if chat.return_token_ids else None,
    )


def _tool_call_cells(said: ChoiceMessage) -> list[ToolCallCell] | None:
    if not said.message.tool_calls:
        return None
    return [
        ToolCallCell(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in said.message.tool_calls
    ]
