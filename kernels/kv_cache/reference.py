"""Writing keys and values, spelled out. Owns: the reference on any device."""

from torch import Tensor

from kernels.float8 import as_stored, movable

__all__ = ["write_kv"]


def write_kv(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
) -> None:
    """See `kernels.kv_cache.WriteKV`."""
    block_size = key_cache.shape[1]
    is_wanted = slot_mapping >= 0
    slots = slot_mapping[is_wanted]
    blocks, offsets = slots // block_size, slots % block_size
    for new, cache in ((key, key_cache), (value, value_cache)):
        movable(cache)[blocks, offsets] = movable(as_stored(new[is_wanted], cache.dtype))
