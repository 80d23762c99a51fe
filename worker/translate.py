"""From a leased job to engine requests, and from their end to a row.

Owns: parsing, the prompt, the choices, and the checks that need the tokenizer or the template. Must
not know: Redis, the engine's running. Called from threads: nothing here changes shared state.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.chat_template import ChatOptions, ChatTemplate
from engine.detokenizer import StopStringMatcher
from engine.errors import RequestError
from engine.request import Request, RequestStatus
from engine.tokenizer import Tokenizer
from jobs.identity import request_hash
from schemas.batch import SUPPORTED_ENDPOINTS
from schemas.chat import ChatCompletionRequest, parse_chat_request
from schemas.errors import ApiError, server_error, unreadable_body
from schemas.json_text import parse_json
from schemas.result import ResultRow
from schemas.supported import check_supported
from worker.answers import AnswerWriter
from worker.handover import ChoiceProgress, decode_progress
from worker.job import HeldJob, PreparedJob
from worker.sampling import ModelLimits, SamplingPlan, plan_sampling, resolve_seed

__all__ = ["Translator", "internal_error"]

_log = logging.getLogger(__name__)


def internal_error(message: str) -> ApiError:
    """500: the worker's fault, not the request's."""
    error = server_error(message)
    error.code = "internal_error"
    return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Translator:
    """Translates for one model. `identity` stands for the model and all settings that change
    tokens; `seed` seeds requests that bring none.
    """

    tokenizer: Tokenizer
    template: ChatTemplate
    limits: ModelLimits
    answers: AnswerWriter
    identity: str
    seed: int

    def prepare(self, jobs: Sequence[HeldJob]) -> list[HeldJob]:
        """Give each job its `prepared` requests or its `refusal`.

        Returns them in the order in which they should start: by prompt tokens, so that neighbours
        share as much of their prefix as the jobs at hand allow.
        """
        for job in jobs:
            self._prepare_one(job)
        return sorted(jobs, key=_prompt_of)

    def answer(self, job: HeldJob) -> ResultRow:
        """The row of a job whose requests have all ended well."""
        assert job.prepared is not None
        return self.answers.answer(job, job.prepared)

    def refuse(self, job: HeldJob, error: ApiError) -> ResultRow:
        """The row of a job that failed."""
        known_hash = job.prepared.request_hash if job.prepared is not None else None
        return self.answers.refuse(job, error, request_hash=known_hash)

    def _prepare_one(self, job: HeldJob) -> None:
        digest: str | None = None
        try:
            body = _parse(job)
            digest = request_hash(body, self.identity)
            job.prepared = self._prepare(job, body, digest)
        except ApiError as error:
            job.refusal = self.answers.refuse(job, error, request_hash=digest)
        except RequestError as error:
            refusal = ApiError(400, str(error), param=error.param, code=error.code)
            job.refusal = self.answers.refuse(job, refusal, request_hash=digest)
        except Exception as error:  # noqa: BLE001 - the job boundary
            _log.exception("job %d of batch %s failed", job.lease.idx, job.lease.batch_id)
            failure = internal_error(f"The worker failed: {error!r}")
            job.refusal = self.answers.refuse(job, failure, request_hash=digest)

    def _prepare(self, job: HeldJob, body: dict[str, Any], digest: str) -> PreparedJob:
        chat = parse_chat_request(body)
        check_supported(chat)
        prompt = self.tokenizer.encode_prompt(self._render(chat))
        plan = plan_sampling(
            chat,
            self.limits,
            num_prompt_tokens=len(prompt),
            seed=resolve_seed(chat.seed, seed=self.seed, request_hash=digest, idx=job.lease.idx),
        )
        progress = decode_progress(job.lease.progress, self.identity, num_choices=chat.num_choices)
        requests = [
            self._choice(job, chat, prompt, plan, index, progress[index] if progress else None)
            for index in range(chat.num_choices)
        ]
        return PreparedJob(chat=chat, requests=requests, request_hash=digest)

    def _render(self, chat: ChatCompletionRequest) -> str:
        return self.template.render(
            chat.template_messages(),
            chat.template_tools,
            options=ChatOptions(
                add_generation_prompt=chat.opens_answer,
                continue_final_message=bool(chat.continue_final_message),
                reasoning_effort=chat.reasoning_effort,
                documents=chat.documents,
                kwargs=chat.chat_template_kwargs or {},
            ),
        )

    def _choice(
        self,
        job: HeldJob,
        chat: ChatCompletionRequest,
        prompt: Sequence[int],
        plan: SamplingPlan,
        index: int,
        progress: ChoiceProgress | None,
    ) -> Request:
        lease = job.lease
        stem = f"{lease.batch_id}:{lease.idx}:{lease.fence}"
        request = Request(
            request_id=f"{stem}:{index}",
            prompt_token_ids=prompt,
            sampling=plan.sampling,
            stop=plan.stop,
            stop_matcher=self._stop_matcher(chat),
            choice_index=index,
            fork_of=f"{stem}:0" if index else None,
            cache_salt="" if job.tenant == "default" else job.tenant,
        )
        if progress is not None:
            _resume(request, progress)
        return request

    def _stop_matcher(self, chat: ChatCompletionRequest) -> StopStringMatcher | None:
        if not chat.stop_strings:
            return None
        return StopStringMatcher(
            self.tokenizer,
            chat.stop_strings,
            include_stop_string=bool(chat.include_stop_str_in_output),
            skip_special_tokens=chat.skip_special_tokens is not False,
        )


def _parse(job: HeldJob) -> dict[str, Any]:
    if job.lease.url not in SUPPORTED_ENDPOINTS:
        raise ApiError(
            400, f"The endpoint {job.lease.url} is not served.", param="url", code="invalid_url"
        )
    try:
        body = parse_json(job.lease.body)
    except ValueError as error:
        raise unreadable_body(str(error)) from error
    if not isinstance(body, dict):
        raise unreadable_body("expected an object")
    return body


def _resume(request: Request, progress: ChoiceProgress) -> None:
    """Let the request go on where an earlier worker stopped."""
    request.output_token_ids = progress.output_token_ids
    if request.stop_matcher is not None:
        for token_id in progress.output_token_ids:
            request.stop_matcher.append(token_id)
    if progress.finish_reason is not None:
        request.finish_reason = progress.finish_reason
        request.stop_reason = progress.stop_reason
        request.status = RequestStatus.FINISHED


def _prompt_of(job: HeldJob) -> list[int]:
    return list(job.prepared.requests[0].prompt_token_ids) if job.prepared is not None else []
