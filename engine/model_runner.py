"""One step on one device: plan in, sampled tokens out.

Owns: the model, the rows of the running requests, attention and the sampler, and their order within
a step. Must not know: why a plan looks as it does, text, jobs. Nothing else touches the device
while a step runs.
"""

import inspect
from typing import Any

import torch
from torch import Tensor

from engine.attention import AttentionStep, PagedAttention
from engine.batch import RequestRows, StepInputs
from engine.device import copy_to_device
from engine.kv_cache import KVCache
from engine.logprob_reader import LogprobReader, LogprobsRead
from engine.model.load import LoadedModel
from engine.sampler import Sampler
from engine.step import PlanRow, StepPlan, StepResult
from kernels.sampling import SampledTokens

__all__ = ["ModelRunner"]

_INVALID = "The model's output for this request is not a number (NaN or infinite logits)."


class ModelRunner:
    """Executes plans, one at a time. Takes over the model: its attention becomes ours."""

    def __init__(self, loaded: LoadedModel, kv_cache: KVCache, *, max_num_seqs: int) -> None:
        self._model: Any = loaded.module
        self._device = loaded.device
        self._rows = RequestRows(
            max_num_seqs=max_num_seqs,
            max_model_len=loaded.max_model_len,
            block_size=kv_cache.block_size,
        )
        self._sampler = Sampler(self._rows, self._device)
        self._logprobs = LogprobReader(self._device)
        self._attention = PagedAttention(list(loaded.layers), kv_cache, device=self._device)
        self._model.set_attn_implementation(self._attention.name)
        parameters = inspect.signature(self._model.forward).parameters
        self._can_select_logits = "logits_to_keep" in parameters

    def execute(self, plan: StepPlan) -> StepResult:
        """Compute the plan's tokens and sample where it asks for it. Raises what the device
        raises; the rows it has learnt then stay as they are, and may be sent again.
        """
        inputs = self._rows.begin_step(plan)
        with torch.inference_mode():
            logits = self._forward(inputs)
            if not len(inputs.logit_indices):
                return StepResult(plan.step_id, {})
            kept = self._logprobs.keep(plan, inputs, logits)
            num_sampled = len(inputs.sample_rows)
            sampled = self._sampler.sample(logits[:num_sampled], inputs) if num_sampled else None
            read = None
            if kept is not None:
                token_ids = sampled.token_ids if sampled is not None else None
                read = self._logprobs.read(plan, inputs, kept, token_ids)
            return self._collect(plan, inputs, sampled, read)

    def close(self) -> None:
        """Give up the attention's name. The runner cannot execute any more."""
        self._attention.close()

    def _forward(self, inputs: StepInputs) -> Tensor:
        """The logits [S + P, V] of the tokens whose successors are sampled or scored."""
        self._attention.step = AttentionStep(
            block_table=copy_to_device(inputs.block_table, self._device),
            cu_seqlens_q=copy_to_device(inputs.cu_seqlens_q, self._device),
            seq_lens=copy_to_device(inputs.seq_lens, self._device),
            slot_mapping=copy_to_device(inputs.slot_mapping, self._device),
        )
        logit_indices = copy_to_device(inputs.logit_indices, self._device)
        selection = {"logits_to_keep": logit_indices} if self._can_select_logits else {}
        output = self._model(
            input_ids=copy_to_device(inputs.input_ids, self._device).unsqueeze(0),
            position_ids=copy_to_device(inputs.positions, self._device).unsqueeze(0),
            use_cache=False,
            **selection,
        )
        logits: Tensor = output.logits[0]
        return logits if self._can_select_logits else logits[logit_indices]

    def _collect(
        self,
        plan: StepPlan,
        inputs: StepInputs,
        sampled: SampledTokens | None,
        read: LogprobsRead | None,
    ) -> StepResult:
        """What the step brought, sorted by request."""
        tokens_of: dict[str, list[int]] = {}
        errors: dict[str, str] = {}
        if sampled is not None:
            tokens_of, errors = self._collect_tokens(plan, inputs, sampled)
        if read is None:
            return StepResult(plan.step_id, tokens_of, errors)
        for request_id in read.invalid_request_ids:
            errors[request_id] = _INVALID
            tokens_of.pop(request_id, None)
        return StepResult(plan.step_id, tokens_of, errors, read.rows)

    def _collect_tokens(
        self, plan: StepPlan, inputs: StepInputs, sampled: SampledTokens
    ) -> tuple[dict[str, list[int]], dict[str, str]]:
        """Wait for the sampled tokens and remember them; tokens and errors by request."""
        token_ids = sampled.token_ids.cpu().numpy()
        is_valid = sampled.is_valid.cpu().numpy()
        self._rows.write_sampled(inputs, token_ids)
        tokens_of: dict[str, list[int]] = {}
        errors: dict[str, str] = {}
        start = 0
        values = token_ids.tolist()
        for row, count in _sampled_rows(plan, inputs):
            stop = start + count
            tokens_of[row.request_id] = values[start:stop]
            start = stop
        if not is_valid.all():
            errors = self._invalid_rows(plan, inputs, is_valid.tolist())
            for request_id in errors:
                del tokens_of[request_id]
        return tokens_of, errors

    def _invalid_rows(
        self, plan: StepPlan, inputs: StepInputs, is_valid: list[bool]
    ) -> dict[str, str]:
        errors: dict[str, str] = {}
        start = 0
        for row, count in _sampled_rows(plan, inputs):
            if not all(is_valid[start : start + count]):
                errors[row.request_id] = _INVALID
            start += count
        return errors


def _sampled_rows(plan: StepPlan, inputs: StepInputs) -> list[tuple[PlanRow, int]]:
    return [
        (row, count) for row, count in zip(plan.rows, inputs.sample_counts, strict=True) if count
    ]
