"""The KV cache's tensors, and how many blocks of them fit.

Owns: two tensors for each attention layer, and the rule that sizes them. Must not know: which
request a block belongs to, hashes, reference counts.
"""

import math
import mmap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.config import CacheConfig
from engine.errors import CacheSizeError
from engine.memory import format_bytes
from engine.model.geometry import LayerGeometry

__all__ = ["KVCache", "MemoryBudget", "num_blocks_for"]

# Of the memory that a CPU host has left, this share at most becomes KV cache: the machine is not
# ours alone, and the operating system caches the files of the run in the rest.
_MAX_HOST_SHARE = 0.5
_ALIGNMENT = 64  # bytes, a cache line
_LEAST_HUGE_BYTES = 16 << 20  # of a tensor: of a smaller one, the last huge page would be much


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """The device's memory in bytes, once the model is loaded. `reserve` is kept free for the
    activations of a step.
    """

    total: int
    available: int
    reserve: int
    is_host: bool


class KVCache:
    """Keys and values of all blocks, one pair of tensors for each attention layer.

    `keys[i]`: [num_blocks, block_size, num_kv_heads, key_dim]; `values[i]` likewise, all zero. On
    the CPU the memory takes up room only once it is written.
    """

    def __init__(
        self,
        layers: Sequence[LayerGeometry],
        *,
        num_blocks: int,
        block_size: int,
        device: torch.device,
    ) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        shape = (num_blocks, block_size)
        try:
            self.keys = [
                _zeros((*shape, x.num_kv_heads, x.key_dim), x.dtype, device) for x in layers
            ]
            self.values = [
                _zeros((*shape, x.num_kv_heads, x.value_dim), x.dtype, device) for x in layers
            ]
        # torch's out-of-memory is a RuntimeError, mmap's an OSError or OverflowError.
        except (MemoryError, OSError, OverflowError, RuntimeError) as error:
            size = format_bytes(num_blocks * block_size * sum(x.bytes_per_token for x in layers))
            raise CacheSizeError(
                f"the KV cache of {num_blocks} blocks ({size}) does not fit on {device}; "
                "lower --kv-cache-memory-bytes or --gpu-memory-utilization"
            ) from error

    @property
    def dtype(self) -> torch.dtype:
        """Of the first layer; all of them, in models that compute in one dtype."""
        return self.keys[0].dtype

    @property
    def num_bytes(self) -> int:
        """What the cache takes at most."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the index-th attention layer."""
        return self.keys[index], self.values[index]


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A zeroed tensor, aligned to cache lines. On the CPU its pages are those of the operating
    system's zero page until they are written: torch.zeros would write them all.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes >= _LEAST_HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        # Pages of 2 MiB: a long prompt writes to thousands of small ones for the first time.
        pages = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
        return torch.frombuffer(pages, dtype=dtype).view(shape)
    memory = torch.from_numpy(np.zeros(num_bytes + _ALIGNMENT, np.uint8))
    start = -memory.data_ptr() % _ALIGNMENT
    return memory[start : start + num_bytes].view(dtype).view(shape)


def num_blocks_for(
    config: CacheConfig,
    layers: Sequence[LayerGeometry],
    *,
    memory: MemoryBudget,
    max_model_len: int,
    max_num_seqs: int,
) -> int:
    """How many blocks to allocate.

    A given `num_blocks` is taken as it is, else `kv_cache_memory_bytes` is divided up, else what
    the memory budget allows, but never more than `max_num_seqs` requests of full length can use.
    Raises CacheSizeError if one request of `max_model_len` does not fit; it names the length that
    would.
    """
    per_request = -(-max_model_len // config.block_size)
    bytes_per_block = config.block_size * sum(layer.bytes_per_token for layer in layers)
    if config.num_blocks is not None:
        num_blocks = config.num_blocks
    elif config.kv_cache_memory_bytes is not None:
        num_blocks = config.kv_cache_memory_bytes // bytes_per_block
    else:
        num_bytes = _budgeted_bytes(memory, config.gpu_memory_utilization)
        num_blocks = min(num_bytes // bytes_per_block, per_request * max_num_seqs)
    if num_blocks < per_request:
        fits = num_blocks * config.block_size
        advice = f"lower --max-model-len to {fits} or less, or " if fits else ""
        raise CacheSizeError(
            f"one request of {max_model_len} tokens needs "
            f"{format_bytes(per_request * bytes_per_block)} of KV cache, but "
            f"{format_bytes(num_blocks * bytes_per_block)} are there: {advice}raise "
            "--kv-cache-memory-bytes or --gpu-memory-utilization"
        )
    return num_blocks


def _budgeted_bytes(memory: MemoryBudget, utilization: float) -> int:
    """A device of our own: the share of it that we may use, less what is in use. A host: a polite
    part of what is left.
    """
    left = memory.available - memory.reserve
    if memory.is_host:
        return max(0, int(left * utilization * _MAX_HOST_SHARE))
    in_use = memory.total - memory.available
    return max(0, min(left, int(memory.total * utilization) - in_use - memory.reserve))
