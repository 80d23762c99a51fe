"""What the deterministic mode needs besides matrix products (`engine.model.invariant`).

Owns: which attention keeps it. Must not know: requests. A prompt is cut into chunks as there is
room for it, so a row's bits may not depend on where it was cut. The compiled kernels see to that,
their reference does not, nor does AMX.
"""

import torch

from engine.errors import ModelRefusedError
from kernels.cpu_library import instruction_set

__all__ = ["check_attention"]

_COMPILED_DTYPES = (torch.float32, torch.bfloat16)


def check_attention(dtype: torch.dtype, kv_cache_dtype: str, name: str) -> None:
    """Raises ModelRefusedError, with `name` for the model, if attention over such a cache on this
    machine depends on how a prompt is cut.
    """
    kernels = instruction_set()
    if dtype not in _COMPILED_DTYPES:
        raise ModelRefusedError(
            f"--deterministic cannot run {name} as {str(dtype).removeprefix('torch.')}: attention "
            "then depends on how prompts are cut; use --dtype float32 or bfloat16"
        )
    if kernels == "reference":
        raise ModelRefusedError(
            f"--deterministic cannot run {name} without compiled kernels: attention then depends "
            "on how prompts are cut; install headrace where there is a C++ compiler, without "
            "HEADRACE_CPU_ISA=reference"
        )
    if kernels == "amx" and dtype == torch.bfloat16 and kv_cache_dtype == "auto":
        raise ModelRefusedError(
            f"--deterministic cannot run {name} with HEADRACE_CPU_ISA=amx: its attention depends "
            "on how prompts are cut; use avx512"
        )
