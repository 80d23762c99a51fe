"""From one prompt and its request's parameters to the engine's requests, one for each choice.

Owns: ids, forks, stop strings, which log probabilities are recorded, where a handed over job goes
on. Must not know: messages, templates, what an answer looks like. Chat and text completions share
it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.detokenizer import MessageHeads, StopStringMatcher
from engine.logprobs import LogprobRecord
from engine.request import FinishReason, Request, RequestStatus, TokenConstraint
from engine.tokenizer import Tokenizer
from jobs.online.names import is_online
from schemas.errors import ApiError
from schemas.sampling_fields import SamplingFields
from worker.handover import ChoiceProgress
from worker.job import HeldJob
from worker.sampling import ModelLimits, plan_sampling

__all__ = ["PromptTask", "RequestMaker", "WantedLogprobs"]

_DEFAULT_TENANT = "default"
_LAST_ONLINE = 1 << 31  # the lowest priority among requests of waiting clients


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLogprobs:
    """Log probabilities of the output if `of_output`, and of the prompt from the token at index
    `prompt_from` on; None: of none of it. Each comes with the `num_top` likeliest tokens.
    """

    num_top: int
    of_output: bool
    prompt_from: int | None = None

    def record(self, num_prompt_tokens: int, choice_index: int) -> LogprobRecord | None:
        """What choice `choice_index` keeps: the prompt is the same for all, so only the first
        scores it.
        """
        if choice_index == 0 and self.prompt_from is not None:
            first = max(1, min(self.prompt_from, num_prompt_tokens))
            return LogprobRecord(first_token=first, num_top=self.num_top)
        if self.of_output:
            return LogprobRecord(first_token=num_prompt_tokens, num_top=self.num_top)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTask:
    """One prompt of a job. `param` is the name a client knows the prompt by; `first_index` counts
    the choices of the job's prompts before this one; `progress` has one entry for each choice.
    Stop strings are not looked for in `heads`.
    """

    fields: SamplingFields
    prompt: Sequence[int]
    param: str
    seed: int
    first_index: int = 0
    logprobs: WantedLogprobs | None = None
    progress: Sequence[ChoiceProgress] | None = None
    new_constraint: Callable[[], TokenConstraint] | None = None
    heads: MessageHeads | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMaker:
    """Makes requests for one model."""

    tokenizer: Tokenizer
    limits: ModelLimits

    def make(self, job: HeldJob, task: PromptTask) -> list[Request]:
        """The requests that answer the prompt, choice 0 first.

        Raises ApiError 400 for what does not fit the model.
        """
        self._check_prompt(task)
        plan = plan_sampling(
            task.fields,
            self.limits,
            num_prompt_tokens=len(task.prompt),
            seed=task.seed,
            param=task.param,
        )
        lease = job.lease
        stem = f"{lease.batch_id}:{lease.idx}:{lease.fence}"
        wanted = task.logprobs
        requests = [
            Request(
                request_id=f"{stem}:{task.first_index + index}",
                prompt_token_ids=task.prompt,
                sampling=plan.sampling,
                stop=plan.stop,
                stop_matcher=self._stop_matcher(task),
                logprobs=wanted.record(len(task.prompt), index) if wanted is not None else None,
                constraint=task.new_constraint() if task.new_constraint is not None else None,
                choice_index=index,
                fork_of=f"{stem}:{task.first_index}" if index else None,
                cache_salt=_cache_salt(job.tenant, task.fields.cache_salt),
                priority=_priority(job, task.fields),
            )
            for index in range(task.fields.num_choices)
        ]
        for request in requests:
            if request.stop.max_tokens == 0 and request.logprobs is None:
                request.finish_reason = FinishReason.LENGTH
                request.status = RequestStatus.FINISHED
        # Log probabilities are not handed over with the tokens: such a job starts again.
        if task.progress is not None and wanted is None:
            for request, progress in zip(requests, task.progress, strict=True):
                if _is_followed(request.constraint, progress.output_token_ids):
                    _resume(request, progress)
                elif task.new_constraint is not None:
                    request.constraint = task.new_constraint()
        return requests

    def _check_prompt(self, task: PromptTask) -> None:
        """A tokenizer may know more tokens than the model: a [PAD] that somebody added, say. One of
        them would end the step of everybody.
        """
        highest = max(task.prompt, default=0)
        if highest < self.limits.vocab_size:
            return
        text = self.tokenizer.texts.text_of(highest)
        raise ApiError(
            400,
            f"Invalid '{task.param}': its text has the token {text!r}, for which this model's "
            f"tokenizer has the id {highest}, but the model knows {self.limits.vocab_size} tokens "
            "only.",
            param=task.param,
            code="invalid_value",
        )

    def _stop_matcher(self, task: PromptTask) -> StopStringMatcher | None:
        fields = task.fields
        if not fields.stop_strings:
            return None
        return StopStringMatcher(
            self.tokenizer,
            fields.stop_strings,
            include_stop_string=bool(fields.include_stop_str_in_output),
            skip_special_tokens=fields.skip_special_tokens is not False,
            heads=task.heads,
            in_head=task.heads is not None and task.heads.is_open(task.prompt),
        )


def _priority(job: HeldJob, fields: SamplingFields) -> int:
    """Requests that somebody waits for come before all others."""
    wanted = max(0, fields.priority or 0)
    if not is_online(job.lease.batch_id):
        return wanted
    return min(wanted, _LAST_ONLINE) - _LAST_ONLINE - 1


def _cache_salt(tenant: str, requested: str | None) -> str:
    """Who may share cached prefixes: one tenant, and of it those with the same salt. A client can
    narrow that, never widen it: lengths keep two pairs from looking alike.
    """
    own = "" if tenant == _DEFAULT_TENANT else tenant
    return own if requested is None else f"\0{len(own)}:{own}:{requested}"


def _is_followed(constraint: TokenConstraint | None, token_ids: Sequence[int]) -> bool:
    """Advance a constraint over tokens of an earlier worker; False if they are not to its liking,
    so that the request has to start again.
    """
    if constraint is None:
        return True
    for token_id in token_ids:
        constraint.append(token_id)
    return constraint.error is None


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
