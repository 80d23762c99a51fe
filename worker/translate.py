"""From a leased job to engine requests, and from their end to a row.

Owns: parsing, the prompt, the choices, and the checks that need the tokenizer or the template. Must
not know: Redis, the engine's running. Called from threads: nothing here changes shared state.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.chat_template import ChatOptions, ChatTemplate
from engine.errors import GrammarPendingError, RequestError
from engine.request import Request
from engine.structured_output.patience import Patience
from engine.structured_output.patience import patience as waiting_with
from engine.tokenizer import Tokenizer
from jobs.bodies import Bodies, is_reference
from jobs.errors import BlobError
from jobs.identity import request_hash
from schemas.batch import SUPPORTED_ENDPOINTS
from schemas.chat import ChatCompletionRequest
from schemas.completions import CompletionRequest
from schemas.errors import ApiError, server_error, unreadable_body
from schemas.json_text import parse_json
from schemas.requests import ENDPOINTS, check_request
from schemas.result import ResultRow
from worker.answers import AnswerWriter
from worker.completion_answers import answer_completion
from worker.completion_prompts import prepare_prompt
from worker.constraints import Constrainer
from worker.handover import ChoiceProgress, decode_progress
from worker.job import HeldJob, PreparedCompletion, PreparedJob
from worker.logprob_answers import wanted_of_chat, wanted_of_completion
from worker.request_maker import PromptTask, RequestMaker
from worker.sampling import ModelLimits, resolve_seed
from worker.token_filters import FilterMaker
from worker.truncation import truncated

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
    tokens; `seed` seeds requests that bring none; `bodies` is where large requests lie.
    """

    tokenizer: Tokenizer
    template: ChatTemplate
    limits: ModelLimits
    answers: AnswerWriter
    identity: str
    seed: int
    constrainer: Constrainer
    bodies: Bodies | None = None

    def prepare(self, jobs: Sequence[HeldJob], patience: Patience = Patience.FULL) -> list[HeldJob]:
        """Give each job its `prepared` requests or its `refusal`; neither, if it has a grammar that
        is not compiled yet and would take longer than the caller's patience.

        Returns them in the order in which they should start: by prompt tokens, so that neighbours
        share as much of their prefix as the jobs at hand allow.
        """
        with waiting_with(patience):
            for job in jobs:
                self._prepare_one(job)
        return sorted(jobs, key=_prompt_of)

    def answer(self, job: HeldJob) -> ResultRow:
        """The row of a job whose requests have all ended well."""
        assert job.prepared is not None
        if isinstance(job.prepared, PreparedCompletion):
            return answer_completion(self.answers, job, job.prepared)
        return self.answers.answer(job, job.prepared)

    def refuse(self, job: HeldJob, error: ApiError) -> ResultRow:
        """The row of a job that failed."""
        known_hash = job.prepared.request_hash if job.prepared is not None else None
        return self.answers.refuse(job, error, request_hash=known_hash)

    def _prepare_one(self, job: HeldJob) -> None:
        digest: str | None = None
        try:
            body = self._parse(job)
            digest = request_hash(body, self.identity)
            job.prepared = self._prepare(job, body, digest)
        except GrammarPendingError:
            return
        except ApiError as error:
            job.refusal = self.answers.refuse(job, error, request_hash=digest)
        except RequestError as error:
            refusal = ApiError(400, str(error), param=error.param, code=error.code)
            job.refusal = self.answers.refuse(job, refusal, request_hash=digest)
        except Exception as error:  # noqa: BLE001 - the job boundary
            _log.exception("job %d of batch %s failed", job.lease.idx, job.lease.batch_id)
            failure = internal_error(f"The worker failed: {error!r}")
            job.refusal = self.answers.refuse(job, failure, request_hash=digest)

    def _parse(self, job: HeldJob) -> dict[str, Any]:
        if job.lease.url not in SUPPORTED_ENDPOINTS:
            raise ApiError(
                400, f"The endpoint {job.lease.url} is not served.", param="url", code="invalid_url"
            )
        try:
            body = parse_json(self._bytes_of(job))
        except ValueError as error:
            raise unreadable_body(str(error)) from error
        if not isinstance(body, dict):
            raise unreadable_body("expected an object")
        return body

    def _bytes_of(self, job: HeldJob) -> bytes:
        """The request's bytes, fetched if they lie elsewhere."""
        if not is_reference(job.lease.body):
            return job.lease.body
        if self.bodies is None:
            raise internal_error(
                "The request is too large for the queue and lies in a blob store that this worker "
                "does not know; start it with the --blobs of the producer."
            )
        try:
            return self.bodies.fetch(job.lease.body)
        except BlobError as error:
            raise internal_error(f"The request cannot be fetched: {error}") from error

    def _prepare(
        self, job: HeldJob, body: dict[str, Any], digest: str
    ) -> PreparedJob | PreparedCompletion:
        request = ENDPOINTS[job.lease.url].parse(body)
        check_request(request)
        if isinstance(request, CompletionRequest):
            return self._prepare_completion(job, request, digest)
        return self._prepare_chat(job, request, digest)

    def _prepare_chat(self, job: HeldJob, chat: ChatCompletionRequest, digest: str) -> PreparedJob:
        prompt = self._truncated(self.tokenizer.encode_prompt(self._render(chat)), chat)
        task = PromptTask(
            fields=chat,
            prompt=prompt,
            param="messages",
            seed=resolve_seed(chat.seed, seed=self.seed, request_hash=digest, idx=job.lease.idx),
            logprobs=wanted_of_chat(chat),
            progress=self._progress(job, chat.num_choices),
            new_constraint=self._filters.wrap(chat, self.constrainer.constrain(chat, prompt)),
            heads=self.answers.parser.heads if self.answers.parser is not None else None,
        )
        requests = self._maker.make(job, task)
        return PreparedJob(chat=chat, requests=requests, request_hash=digest)

    def _prepare_completion(
        self, job: HeldJob, completion: CompletionRequest, digest: str
    ) -> PreparedCompletion:
        prompts = [
            prepare_prompt(item, completion, self.tokenizer, self.limits)
            for item in completion.prompts
        ]
        constraints = self.constrainer.constrain_text(
            completion, [prompt.token_ids for prompt in prompts]
        )
        progress = self._progress(job, completion.num_answers)
        requests: list[Request] = []
        for index, prompt in enumerate(prompts):
            first = len(requests)
            task = PromptTask(
                fields=completion,
                prompt=prompt.token_ids,
                param="prompt",
                # Without a seed of the client's, equal prompts in one list get different answers.
                seed=resolve_seed(
                    completion.seed,
                    seed=self.seed,
                    request_hash=f"{digest}:{index}" if index else digest,
                    idx=job.lease.idx,
                ),
                first_index=first,
                logprobs=wanted_of_completion(completion),
                progress=progress and progress[first : first + completion.num_choices],
                new_constraint=self._filters.wrap(completion, constraints[index]),
            )
            requests += self._maker.make(job, task)
        return PreparedCompletion(
            completion=completion, prompts=prompts, requests=requests, request_hash=digest
        )

    def _progress(self, job: HeldJob, num_choices: int) -> list[ChoiceProgress] | None:
        return decode_progress(job.lease.progress, self.identity, num_choices=num_choices)

    def _truncated(self, prompt: list[int], chat: ChatCompletionRequest) -> list[int]:
        return truncated(prompt, chat, self.limits.max_model_len)

    @property
    def _filters(self) -> FilterMaker:
        return FilterMaker(
            tokenizer=self.tokenizer,
            vocab_size=self.limits.vocab_size,
            num_tokens=self.constrainer.factory.compiler.num_tokens,
        )

    @property
    def _maker(self) -> RequestMaker:
        return RequestMaker(tokenizer=self.tokenizer, limits=self.limits)

    def _render(self, chat: ChatCompletionRequest) -> str:
        parser = self.answers.parser
        return self.template.render(
            chat.template_messages(),
            chat.template_tools,
            options=ChatOptions(
                add_generation_prompt=chat.opens_answer,
                continue_final_message=bool(chat.continue_final_message),
                reasoning_effort=chat.reasoning_effort,
                documents=chat.documents,
                finds_calls=parser is not None and parser.finds_calls,
                kwargs=chat.chat_template_kwargs or {},
            ),
        )


def _prompt_of(job: HeldJob) -> list[int]:
    return list(job.prepared.requests[0].prompt_token_ids) if job.prepared is not None else []
