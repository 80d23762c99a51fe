"""From the logits of a step to its tokens.

Owns: turning the rows' sampling parameters into the tensors of the sampling kernel, with only the
parts that some row needs. Must not know: requests, plans, text. The noise of a token depends on its
request's seed, its choice index and its place in the output alone.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.batch import RequestRows, StepInputs
from engine.device import copy_all_to_device, copy_to_device
from kernels.registry import resolve
from kernels.sampling import (
    Penalties,
    SampledTokens,
    SamplingTensors,
    TokenBans,
    TokenBiases,
    TokenMasks,
)
from kernels.sampling.noise import uniforms

__all__ = ["Sampler"]

_Int64 = npt.NDArray[np.int64]


class Sampler:
    """Samples for the rows it was given. One for each model runner."""

    def __init__(self, rows: RequestRows, device: torch.device) -> None:
        self._rows = rows
        self._device = device
        self._sample = resolve("sample", device)

    def sample(
        self, logits: Tensor, inputs: StepInputs, last_tokens: Tensor | None = None
    ) -> SampledTokens:
        """One token for each of the S rows of `logits` [S, V], which may be overwritten.

        last_tokens: [rows] int64, what was sampled last for each persistent row; needed where
        `inputs` has pending tokens.
        """
        return self._sample(logits, self._params(inputs, last_tokens))

    def _params(self, inputs: StepInputs, last_tokens: Tensor | None) -> SamplingTensors:
        rows = inputs.sample_rows
        output_positions = inputs.sample_positions - self._rows.num_prompt_tokens[rows]
        columns = self._rows.sampling
        bans = self._bans(rows, output_positions)
        masks = self._masks(inputs)
        biases = self._biases(rows)
        penalties = self._penalties(inputs, last_tokens)
        temperature = columns.temperature[rows]
        if not temperature.any():
            return SamplingTensors(bans=bans, masks=masks, biases=biases, penalties=penalties)
        noise = uniforms(columns.seed[rows], columns.choice_index[rows], output_positions)
        arrays: dict[str, npt.NDArray[np.generic]] = {"temperature": temperature, "uniform": noise}
        min_p, top_k, top_p = columns.min_p[rows], columns.top_k[rows], columns.top_p[rows]
        if min_p.any():
            arrays["min_p"] = min_p
        if top_k.any():
            arrays["top_k"] = top_k
        if (top_p < 1.0).any():
            arrays["top_p"] = top_p
        copies = copy_all_to_device(list(arrays.values()), self._device)
        return SamplingTensors(
            bans=bans,
            masks=masks,
            biases=biases,
            penalties=penalties,
            **dict(zip(arrays, copies, strict=True)),
        )

    def _bans(self, rows: _Int64, output_positions: _Int64) -> TokenBans | None:
        """The tokens that would end a request before its `min_tokens`."""
        # Positions inside a prompt are negative here; they have no bans unless the output has.
        min_tokens = self._rows.sampling.min_tokens[rows]
        active = np.flatnonzero((output_positions < min_tokens) & (min_tokens > 0))
        if not len(active):
            return None
        lists = [self._rows.sampling.banned_token_ids[row] for row in rows[active].tolist()]
        counts = [len(token_ids) for token_ids in lists]
        return TokenBans(
            rows=self._copy(np.repeat(active, counts)),
            token_ids=self._copy(np.concatenate(lists)),
        )

    def _masks(self, inputs: StepInputs) -> TokenMasks | None:
        if inputs.masks is None:
            return None
        return TokenMasks(rows=self._copy(inputs.masks.rows), bits=self._copy(inputs.masks.bits))

    def _biases(self, rows: _Int64) -> TokenBiases | None:
        columns = self._rows.sampling
        if not columns.bias_token_ids:
            return None
        active = [i for i, row in enumerate(rows.tolist()) if row in columns.bias_token_ids]
        if not active:
            return None
        token_ids = [columns.bias_token_ids[row] for row in rows[active].tolist()]
        values = [columns.bias_values[row] for row in rows[active].tolist()]
        counts = [len(ids) for ids in token_ids]
        return TokenBiases(
            rows=self._copy(np.repeat(np.array(active, np.int64), counts)),
            token_ids=self._copy(np.concatenate(token_ids)),
            values=self._copy(np.concatenate(values)),
        )

    def _penalties(self, inputs: StepInputs, last_tokens: Tensor | None) -> Penalties | None:
        columns = self._rows.sampling
        active = np.flatnonzero(columns.has_penalty[inputs.sample_rows])
        if not len(active):
            return None
        rows = inputs.sample_rows[active]
        num_tokens = inputs.sample_positions[active]
        history = self._copy(self._rows.token_ids[rows, : int(num_tokens.max())])
        pending = np.flatnonzero(inputs.follows_pending[active])
        if len(pending):
            assert last_tokens is not None, "a step began before the one before it was sampled"
            places = (self._copy(pending), self._copy(num_tokens[pending] - 1))
            history[places] = last_tokens[self._copy(rows[pending])].int()
        return Penalties(
            rows=self._copy(active),
            token_ids=history,
            num_prompt_tokens=self._copy(
                np.minimum(self._rows.num_prompt_tokens[rows], num_tokens)
            ),
            num_tokens=self._copy(num_tokens),
            repetition=self._copy(columns.repetition[rows]),
            presence=self._copy(columns.presence[rows]),
            frequency=self._copy(columns.frequency[rows]),
        )

    def _copy(self, array: npt.NDArray[np.generic]) -> Tensor:
        return copy_to_device(array, self._device)
