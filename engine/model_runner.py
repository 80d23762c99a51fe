"""One step on one device: plan in, sampled tokens out.

Owns: the model, the rows of the running requests, attention and the sampler, and their order within
a step. Must not know: why a plan looks as it does, text, jobs. Nothing else touches the device
while a step runs.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.attention import PagedAttention
from engine.batch import RequestRows, StepInputs
from engine.cuda_graphs import DecodeGraphs, Recorder
from engine.device import HostCopies, copy_all_to_device, copy_to_device, on_device
from engine.forward_inputs import ForwardInputs, forward_arrays
from engine.kv_cache import KVCache
from engine.logprob_reader import LogprobReader, LogprobsRead
from engine.model.load import LoadedModel
from engine.sampler import Sampler
from engine.step import PlanRow, StepPlan, StepResult

__all__ = ["LaunchedStep", "ModelRunner"]

_INVALID = "The model's output for this request is not a number (NaN or infinite logits)."


@dataclass(frozen=True, slots=True)
class LaunchedStep:
    """A step that the device computes, and where its outcome arrives: sampled tokens and whether
    they are valid, if there are any, then what the log probabilities are read from.
    """

    plan: StepPlan
    inputs: StepInputs
    copies: HostCopies


class ModelRunner:
    """Executes plans, in their order. Takes over the model: its attention becomes ours.

    `is_ahead`: a step may be launched before the one before it is finished, one ahead at most.
    `recorder` records decoding steps to replay them; None: each is launched anew.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        kv_cache: KVCache,
        *,
        max_num_seqs: int,
        is_ahead: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
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
        # What each row sampled last: the next step reads it here before the host knows it.
        self._last_tokens: Tensor | None = None
        if is_ahead:
            self._last_tokens = torch.zeros(max_num_seqs, dtype=torch.int64, device=self._device)
        self._graphs: DecodeGraphs | None = None
        if recorder is not None:
            self._graphs = DecodeGraphs(
                self._forward,
                recorder,
                device=self._device,
                max_num_seqs=max_num_seqs,
                max_blocks=-(-loaded.max_model_len // kv_cache.block_size),
            )

    def execute(self, plan: StepPlan) -> StepResult:
        """`launch` and `finish` in one."""
        return self.finish(self.launch(plan))

    def launch(self, plan: StepPlan) -> LaunchedStep:
        """Have the plan's tokens computed, and sampled from where it asks for it.

        Raises what the device raises, DeviceLostError if it is lost; the rows it has learnt then
        stay as they are, and may be sent again.
        """
        inputs = self._rows.begin_step(plan)
        with on_device(self._device), torch.inference_mode():
            logits = self._logits(inputs)
            outcome = self._sample(plan, inputs, logits) if len(inputs.logit_indices) else []
            return LaunchedStep(plan, inputs, HostCopies(outcome))

    def finish(self, launched: LaunchedStep) -> StepResult:
        """Wait for what a launched step brings. Raises like `launch`."""
        plan, inputs = launched.plan, launched.inputs
        with on_device(self._device):
            arrays = launched.copies.wait()
        tokens_of: dict[str, list[int]] = {}
        errors: dict[str, str] = {}
        if len(inputs.sample_rows):
            token_ids, is_valid, *arrays = arrays
            tokens_of, errors = self._sort_tokens(plan, inputs, token_ids, is_valid)
        if not arrays:
            return StepResult(plan.step_id, tokens_of, errors)
        read: LogprobsRead = self._logprobs.read(plan, inputs, arrays)
        for request_id in read.invalid_request_ids:
            errors[request_id] = _INVALID
            tokens_of.pop(request_id, None)
        return StepResult(plan.step_id, tokens_of, errors, read.rows)

    def close(self) -> None:
        """Give up the attention's name. The runner cannot execute any more."""
        self._attention.close()

    def _logits(self, inputs: StepInputs) -> Tensor:
        """Those [S + P, V] of the tokens whose successors are sampled or scored."""
        if self._graphs is not None and self._graphs.can_use(inputs):
            return self._graphs.run(inputs, lambda ids: self._feed(ids, inputs))
        tensors = copy_all_to_device(forward_arrays(inputs), self._device)
        forward = ForwardInputs.of(tensors)
        self._feed(forward.input_ids, inputs)
        return self._forward(forward)

    def _feed(self, input_ids: Tensor, inputs: StepInputs) -> None:
        """Fill in the tokens that were sampled but have not arrived on the host. [T] int64."""
        if not len(inputs.pending):
            return
        assert self._last_tokens is not None, "a step began before the one before it ended"
        places, rows = copy_all_to_device([inputs.pending, inputs.pending_rows], self._device)
        input_ids.index_copy_(0, places, self._last_tokens.index_select(0, rows))

    def _forward(self, inputs: ForwardInputs) -> Tensor:
        self._attention.step = inputs.attention
        selection = {"logits_to_keep": inputs.logit_indices} if self._can_select_logits else {}
        output = self._model(
            input_ids=inputs.input_ids.unsqueeze(0),
            position_ids=inputs.positions.unsqueeze(0),
            use_cache=False,
            **selection,
        )
        logits: Tensor = output.logits[0]
        return logits if self._can_select_logits else logits[inputs.logit_indices]

    def _sample(self, plan: StepPlan, inputs: StepInputs, logits: Tensor) -> list[Tensor]:
        """What the step brings, as `LaunchedStep` has it, still on the device."""
        kept = self._logprobs.keep(plan, inputs, logits)
        outcome: list[Tensor] = []
        token_ids: Tensor | None = None
        num_sampled = len(inputs.sample_rows)
        if num_sampled:
            sampled = self._sampler.sample(logits[:num_sampled], inputs, self._last_tokens)
            token_ids = sampled.token_ids
            outcome += [token_ids, sampled.is_valid]
            self._remember(inputs, token_ids)
        if kept is not None:
            num_top = max(row.num_logprobs or 0 for row in plan.rows)
            outcome += self._logprobs.measure(inputs, kept, token_ids, num_top)
        return outcome

    def _remember(self, inputs: StepInputs, token_ids: Tensor) -> None:
        """Keep each row's last sampled token where the next step finds it."""
        if self._last_tokens is None:
            return
        ends = np.cumsum(inputs.sample_counts)[np.array(inputs.sample_counts) > 0] - 1
        rows = copy_to_device(inputs.sample_rows[ends], self._device)
        if len(ends) < len(inputs.sample_rows):
            token_ids = token_ids.index_select(0, copy_to_device(ends, self._device))
        self._last_tokens.index_copy_(0, rows, token_ids)

    def _sort_tokens(
        self,
        plan: StepPlan,
        inputs: StepInputs,
        token_ids: npt.NDArray[Any],
        is_valid: npt.NDArray[Any],
    ) -> tuple[dict[str, list[int]], dict[str, str]]:
        """Write the sampled tokens down; tokens and errors by request."""
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
