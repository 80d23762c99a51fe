"""Forward passes of decoding, recorded once and replayed: no launch of theirs costs the host time.

Owns: which steps can be replayed, how they are padded to the sizes that were recorded, the memory
that recordings read and write, the recordings. Must not know: sampling, requests, why a step looks
as it does. One of the few files that may name `torch.cuda`.

A recording is made of the first step of its size, which is computed as usual before: that compiles
what the kernels need, and serves the step. Sizes grow by an eighth, by eight rows at least; block
tables grow fourfold, as attention is launched for the longest row that its table could hold.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.batch import StepInputs
from engine.device import is_device_lost, pack_arrays, unpack_arrays
from engine.forward_inputs import ForwardInputs, forward_arrays

__all__ = ["CudaRecorder", "DecodeGraphs", "Recorder", "pad"]

_log = logging.getLogger(__name__)

_SMALL_SIZES = (1, 2, 4)
_LEAST_SIZE_STEP = 8
_LARGEST_SIZE = 1024
_NARROWEST_TABLE = 32
_TABLE_FACTOR = 4
_SKIPPED_SLOT = -1

_Key: TypeAlias = tuple[int, int]
_Integer = TypeVar("_Integer", bound=np.integer[Any])


class Recorder(Protocol):
    """What records work of a device."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Note what `work` asks of the device without doing it; returns what does it. Raises
        RuntimeError if something in it cannot be recorded.
        """
        ...


class CudaRecorder:
    """CUDA graphs that share one pool of memory: they never run at the same time."""

    def __init__(self) -> None:
        self._pool: Any = None

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            work()
        self._pool = self._pool or graph.pool()
        replay: Callable[[], None] = graph.replay
        return replay


@dataclass(frozen=True, slots=True)
class _Static:
    """The memory that a recording reads: `inputs` are views of `packed` [bytes]."""

    packed: Tensor
    inputs: ForwardInputs


class DecodeGraphs:
    """Computes the logits of steps in which each request decodes one token.

    `forward` turns inputs into logits [S, V] without waiting for the device. `max_blocks` is the
    width of the widest block table.
    """

    def __init__(
        self,
        forward: Callable[[ForwardInputs], Tensor],
        recorder: Recorder,
        *,
        device: torch.device,
        max_num_seqs: int,
        max_blocks: int,
    ) -> None:
        self._forward = forward
        self._recorder = recorder
        self._device = device
        self._max_size = min(max_num_seqs, _LARGEST_SIZE)
        self._max_blocks = max_blocks
        self._statics: dict[_Key, _Static] = {}
        self._replays: dict[_Key, Callable[[], None]] = {}
        self._output: Tensor | None = None
        self._is_off = False

    def can_use(self, inputs: StepInputs) -> bool:
        """Whether every request of the step has one new token, which is sampled from."""
        num_rows = len(inputs.seq_lens)
        return (
            not self._is_off
            and num_rows <= self._max_size
            and len(inputs.positions) == num_rows
            and len(inputs.sample_rows) == num_rows
            and len(inputs.logit_indices) == num_rows
        )

    def run(self, inputs: StepInputs, complete: Callable[[Tensor], None]) -> Tensor:
        """The logits [R, V] of a step that `can_use` took; the next call overwrites them.

        `complete` fills in the input ids that only the device knows, [R] int64.
        """
        num_rows = len(inputs.seq_lens)
        key = self._key(num_rows, inputs.block_table.shape[1])
        arrays = forward_arrays(pad(inputs, *key))
        static = self._statics.get(key)
        if static is None:
            static = self._statics[key] = self._allocate(arrays)
        static.packed.copy_(pack_arrays(arrays, self._device), non_blocking=True)
        complete(static.inputs.input_ids[:num_rows])
        replay = self._replays.get(key)
        if replay is not None:
            replay()
        else:
            self._capture(key, static)
        assert self._output is not None
        return self._output[:num_rows]

    def _key(self, num_rows: int, num_blocks: int) -> _Key:
        """The size and the table width that serve so many rows and blocks."""
        size = next((small for small in _SMALL_SIZES if num_rows <= small), 0)
        if not size:
            step = max(_LEAST_SIZE_STEP, 2 ** (num_rows - 1).bit_length() // 16)
            size = -(-num_rows // step) * step
        width = _NARROWEST_TABLE
        while width < num_blocks:
            width *= _TABLE_FACTOR
        return min(size, self._max_size), min(width, self._max_blocks)

    def _allocate(self, arrays: Sequence[npt.NDArray[np.integer[Any]]]) -> _Static:
        packed = pack_arrays(arrays, self._device).to(self._device, copy=True)
        return _Static(packed, ForwardInputs.of(unpack_arrays(packed, arrays)))

    def _capture(self, key: _Key, static: _Static) -> None:
        """Compute the step that is in `static`, and record how."""
        logits = self._forward(static.inputs)
        if self._output is None:
            # All recordings write here, so that their own memory can be shared.
            self._output = logits.new_empty(self._max_size, logits.shape[1])
        output = self._output[: key[0]]
        output.copy_(logits)

        def work() -> None:
            output.copy_(self._forward(static.inputs))

        try:
            self._replays[key] = self._recorder.record(work)
        except RuntimeError as error:
            if is_device_lost(error):
                raise
            self._is_off = True
            self._replays.clear()
            _log.warning("decoding runs without CUDA graphs, slower: %s", error)


def pad(inputs: StepInputs, size: int, num_blocks: int) -> StepInputs:
    """A decoding step with rows added up to `size`, and a block table of `num_blocks`.

    Added rows have no token; added tokens belong to no row, and their keys and values are not
    stored.
    """
    num_rows = len(inputs.seq_lens)
    num_added = size - num_rows
    table = np.zeros((size, num_blocks), np.int32)
    table[:num_rows, : inputs.block_table.shape[1]] = inputs.block_table
    return replace(
        inputs,
        input_ids=_extended(inputs.input_ids, num_added, 0),
        positions=_extended(inputs.positions, num_added, 0),
        slot_mapping=_extended(inputs.slot_mapping, num_added, _SKIPPED_SLOT),
        logit_indices=np.arange(size, dtype=np.int64),
        block_table=table,
        cu_seqlens_q=_extended(inputs.cu_seqlens_q, num_added, num_rows),
        seq_lens=_extended(inputs.seq_lens, num_added, 0),
    )


def _extended(array: npt.NDArray[_Integer], count: int, value: int) -> npt.NDArray[_Integer]:
    return np.pad(array, (0, count), constant_values=value)
