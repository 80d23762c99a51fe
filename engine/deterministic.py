"""What the deterministic mode needs besides matrix products (`engine.model.invariant`).

Owns: which attention keeps it. Must not know: requests. A prompt is cut into chunks as there is
room for it, so a row's bits may not depend on where it was cut. The compiled kernels see to that,
AMX's if they are told, their reference does not.
"""

import torch

from engine.errors import ModelRefusedError
from kernels.cpu_library import instruction_set, use_invariant_attention

__all__ = ["keep_attention"]

_COMPILED_DTYPES = (torch.float32, torch.bfloat16)


def keep_attention(dtype: torch.dtype, name: str) -> None:
    """Have attention keep it, in the whole process. Raises ModelRefusedError, with `name` for the
    model, if attention on this machine depends on how a prompt is cut.
    """
    if dtype not in _COMPILED_DTYPES:
        raise ModelRefusedError(
            f"--deterministic cannot run {name} as {str(dtype).removeprefix('torch.')}: attention "
            "then depends on how prompts are cut; use --dtype float32 or bfloat16"
        )
    if instruction_set() == "reference":
        raise ModelRefusedError(
            f"--deterministic cannot run {name} without compiled kernels: attention then depends "
            "on how prompts are cut; install headrace where there is a C++ compiler, without "
            "HEADRACE_CPU_ISA=reference"
        )
    use_invariant_attention()
