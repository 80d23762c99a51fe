"""Writing new keys and values into the paged cache: the contract of the op "write_kv".

Must not know: requests, who owns a block.
"""

from typing import Protocol

from torch import Tensor

from kernels.cpu_library import register_compiled
from kernels.triton_library import register_triton

__all__ = ["WriteKV"]


class WriteKV(Protocol):
    """The callable of the op "write_kv"."""

    def __call__(
        self,
        key: Tensor,
        value: Tensor,
        key_cache: Tensor,
        value_cache: Tensor,
        slot_mapping: Tensor,
    ) -> None:
        """Write one step's keys and values to their slots, rounded to the caches' dtype.

        key:          [T, Hkv, Dk]; last dimension contiguous.
        value:        [T, Hkv, Dv].
        key_cache:    [N, B, Hkv, Dk], modified; in the key's dtype or another one. As
                      float8_e4m3fn, without scales, what is beyond +-448 is stored as +-448, and
                      NaN as NaN (`kernels.float8`).
        value_cache:  [N, B, Hkv, Dv], modified.
        slot_mapping: [T] int64: block * B + offset of each token; a negative slot skips its token
                      (padding). No slot occurs twice.
        """
        ...


register_compiled("write_kv", "kernels.kv_cache.cpu")
register_triton("write_kv", "kernels.kv_cache.gpu")
