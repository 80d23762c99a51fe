"""What a rank remembers of the running requests, and the inputs of a step made from it.

Owns: one row for each request in numpy arrays that live as long as the engine: tokens, block table,
sampling parameters. Must not know: devices, models, why a request runs. A step touches only what
is new, and builds its inputs with array operations: there is no Python work for each token.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.request import SamplingParams
from engine.step import NewRequest, PlanRow, StepPlan, TokenMasks

__all__ = ["RequestRows", "SamplingColumns", "StepInputs"]

_Int32 = npt.NDArray[np.int32]
_Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInputs:
    """One step's arrays: R requests, T tokens, S tokens to sample, P tokens to score.

    input_ids, positions, slot_mapping: [T] int64. block_table: [R, blocks] int32, padded with 0.
    cu_seqlens_q: [R + 1] int32. seq_lens: [R] int32.
    logit_indices: [S + P] int64, which of the T tokens' logits are wanted.
    sample_rows: [S] int64, the persistent row of each. sample_positions: [S] int64, where the
    sampled token will stand in its request. sample_counts: how many for each of the R requests.
    scored_token_ids: [P] int64, the known tokens whose log probabilities are wanted;
    scored_counts: how many for each of the R requests. masks: of some of the S tokens.
    pending: [n] int64, which of the T tokens are sampled already but not known here yet, and
    pending_rows: [n] int64, their rows; input_ids hold anything there. follows_pending: [S] bool,
    the sampled tokens whose predecessor is one of them. sample_generations: [S] int64, whose rows
    they were when the step began.
    """

    input_ids: _Int64
    positions: _Int64
    slot_mapping: _Int64
    block_table: _Int32
    cu_seqlens_q: _Int32
    seq_lens: _Int32
    logit_indices: _Int64
    sample_rows: _Int64
    sample_positions: _Int64
    sample_counts: list[int]
    scored_token_ids: _Int64
    scored_counts: list[int]
    pending: _Int64
    pending_rows: _Int64
    follows_pending: npt.NDArray[np.bool_]
    sample_generations: _Int64
    masks: TokenMasks | None = None


class SamplingColumns:
    """The sampling parameters of all rows, one array for each parameter."""

    def __init__(self, num_rows: int) -> None:
        self.temperature = np.zeros(num_rows, np.float32)
        self.top_p = np.ones(num_rows, np.float32)
        self.top_k = np.zeros(num_rows, np.int64)
        self.min_p = np.zeros(num_rows, np.float32)
        self.repetition = np.ones(num_rows, np.float32)
        self.presence = np.zeros(num_rows, np.float32)
        self.frequency = np.zeros(num_rows, np.float32)
        self.seed = np.zeros(num_rows, np.int64)
        self.choice_index = np.zeros(num_rows, np.int64)
        self.min_tokens = np.zeros(num_rows, np.int64)
        self.has_penalty = np.zeros(num_rows, np.bool_)
        self.bias_token_ids: dict[int, _Int64] = {}
        self.bias_values: dict[int, npt.NDArray[np.float32]] = {}
        self.banned_token_ids: dict[int, _Int64] = {}

    def set(self, row: int, params: SamplingParams, choice_index: int) -> None:
        self.temperature[row] = params.temperature
        self.top_p[row] = params.top_p
        self.top_k[row] = params.top_k
        self.min_p[row] = params.min_p
        self.repetition[row] = params.repetition_penalty
        self.presence[row] = params.presence_penalty
        self.frequency[row] = params.frequency_penalty
        self.seed[row] = _to_int64(params.seed)
        self.choice_index[row] = choice_index
        self.min_tokens[row] = params.min_tokens if params.banned_token_ids else 0
        self.has_penalty[row] = (
            params.repetition_penalty != 1.0
            or params.presence_penalty != 0.0
            or params.frequency_penalty != 0.0
        )
        if params.logit_bias:
            self.bias_token_ids[row] = np.array([t for t, _ in params.logit_bias], np.int64)
            self.bias_values[row] = np.array([v for _, v in params.logit_bias], np.float32)
        if params.banned_token_ids:
            self.banned_token_ids[row] = np.array(params.banned_token_ids, np.int64)

    def clear(self, row: int) -> None:
        """Forget the parts that are not overwritten by `set`."""
        self.bias_token_ids.pop(row, None)
        self.bias_values.pop(row, None)
        self.banned_token_ids.pop(row, None)


class RequestRows:
    """The rows of the requests that run, at most `max_num_seqs` at a time.

    `token_ids`: [rows, max_model_len + 1] int32, prompt and output as far as they are known here:
    sampled tokens are written by `write_sampled`, so plans never carry them. `num_prompt_tokens`:
    [rows] int64.
    """

    def __init__(self, *, max_num_seqs: int, max_model_len: int, block_size: int) -> None:
        max_blocks = -(-max_model_len // block_size)
        self.token_ids = np.zeros((max_num_seqs, max_model_len + 1), np.int32)
        self.num_prompt_tokens = np.zeros(max_num_seqs, np.int64)
        # A step may begin before the tokens of the one before it are known here.
        self._num_known = np.zeros(max_num_seqs, np.int64)
        self._generations = np.zeros(max_num_seqs, np.int64)  # counts a row's requests
        self.sampling = SamplingColumns(max_num_seqs)
        self._block_size = block_size
        self._block_table = np.zeros((max_num_seqs, max_blocks), np.int32)
        self._num_blocks = [0] * max_num_seqs
        self._row_of: dict[str, int] = {}
        self._free = list(range(max_num_seqs - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._row_of)

    def begin_step(self, plan: StepPlan) -> StepInputs:
        """Forget, learn and extend rows as the plan says, and build the step's inputs."""
        for request_id in plan.dropped_request_ids:
            self._forget(request_id)
        for new in plan.new_requests:
            self._learn(new)
        rows = np.array([self._extend(row) for row in plan.rows], np.int64)
        starts = np.array([row.num_computed_tokens for row in plan.rows], np.int64)
        counts = np.array([row.num_new_tokens for row in plan.rows], np.int64)
        offsets = _cumulate(counts)
        token_rows = np.repeat(rows, counts)
        positions = _ranges(starts, counts, offsets)
        blocks, block_offsets = np.divmod(positions, self._block_size)
        slots = self._block_table[token_rows, blocks].astype(np.int64) * self._block_size
        seq_lens = starts + counts
        num_blocks = -(-int(seq_lens.max()) // self._block_size)
        pending = np.flatnonzero(positions >= self._num_known[token_rows])
        return StepInputs(
            input_ids=self.token_ids[token_rows, positions].astype(np.int64),
            positions=positions,
            slot_mapping=slots + block_offsets,
            block_table=self._block_table[rows, :num_blocks],
            cu_seqlens_q=offsets.astype(np.int32),
            seq_lens=seq_lens.astype(np.int32),
            pending=pending,
            pending_rows=token_rows[pending],
            masks=plan.masks,
            **self._logit_inputs(plan.rows, rows, starts, offsets),
        )

    def write_sampled(self, inputs: StepInputs, token_ids: npt.NDArray[np.integer[Any]]) -> None:
        """Append what was sampled, [S], so that the next step finds it. Rows that went to other
        requests meanwhile stay as they are.
        """
        rows, positions = inputs.sample_rows, inputs.sample_positions
        is_same = self._generations[rows] == inputs.sample_generations
        if not is_same.all():
            rows, positions, token_ids = rows[is_same], positions[is_same], token_ids[is_same]
        self.token_ids[rows, positions] = token_ids
        self._num_known[rows] = np.maximum(self._num_known[rows], positions + 1)

    def _logit_inputs(
        self, plan_rows: tuple[PlanRow, ...], rows: _Int64, starts: _Int64, offsets: _Int64
    ) -> dict[str, Any]:
        """The fields of StepInputs about sampled and scored tokens."""
        sampled = _Positions.of([row.logit_positions for row in plan_rows])
        scored = _Positions.of([row.scored_positions for row in plan_rows])
        shifts = offsets[:-1] - starts
        sample_rows = np.repeat(rows, sampled.counts)
        return {
            "logit_indices": np.concatenate([sampled.indices(shifts), scored.indices(shifts)]),
            "sample_rows": sample_rows,
            "sample_generations": self._generations[sample_rows],
            "follows_pending": sampled.positions >= self._num_known[sample_rows],
            "sample_positions": sampled.positions + 1,
            "sample_counts": sampled.counts,
            "scored_token_ids": self.token_ids[
                np.repeat(rows, scored.counts), scored.positions + 1
            ].astype(np.int64),
            "scored_counts": scored.counts,
        }

    def _learn(self, new: NewRequest) -> None:
        """Take a request in; one that is known already starts afresh."""
        self._forget(new.request_id)
        row = self._free.pop()
        self._row_of[new.request_id] = row
        self.token_ids[row, : len(new.token_ids)] = new.token_ids
        self.num_prompt_tokens[row] = new.num_prompt_tokens
        self._num_known[row] = len(new.token_ids)
        self._num_blocks[row] = 0
        self.sampling.set(row, new.sampling, new.choice_index)

    def _forget(self, request_id: str) -> None:
        row = self._row_of.pop(request_id, None)
        if row is not None:
            self.sampling.clear(row)
            self._generations[row] += 1
            self._free.append(row)

    def _extend(self, plan_row: PlanRow) -> int:
        """Append the row's new blocks; returns the row."""
        row = self._row_of[plan_row.request_id]
        (new_blocks,) = plan_row.new_block_ids  # one KV group
        if new_blocks:
            start = self._num_blocks[row]
            stop = start + len(new_blocks)
            self._block_table[row, start:stop] = new_blocks
            self._num_blocks[row] = stop
        return row


def _to_int64(seed: int) -> int:
    """The low 64 bits of any integer, as numpy's signed type holds them."""
    low = seed & 0xFFFF_FFFF_FFFF_FFFF
    return low - 2**64 if low >= 2**63 else low


@dataclass(frozen=True, slots=True)
class _Positions:
    """Some positions of each request, one request after the other: `positions` [n]."""

    positions: _Int64
    counts: list[int]

    @classmethod
    def of(cls, ranges: list[range]) -> "_Positions":
        counts = [len(positions) for positions in ranges]
        firsts = np.array([positions.start for positions in ranges], np.int64)
        sizes = np.array(counts, np.int64)
        return cls(_ranges(firsts, sizes, _cumulate(sizes)), counts)

    def indices(self, shifts: _Int64) -> _Int64:
        """Where they are among the step's tokens, given how far each request is shifted, [R]."""
        return self.positions + np.repeat(shifts, self.counts)


def _cumulate(counts: _Int64) -> _Int64:
    """[n] -> [n + 1]: [0, counts[0], counts[0] + counts[1], ...]."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _ranges(starts: _Int64, counts: _Int64, offsets: _Int64) -> _Int64:
    """The ranges [start, start + count) of all rows, one after the other."""
    return np.arange(offsets[-1], dtype=np.int64) + np.repeat(starts - offsets[:-1], counts)
