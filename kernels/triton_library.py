"""Whether Triton's kernels can be used.

Owns: the question and the registration that follows from it. Must not know: any kernel. Triton is
imported only when a GPU asks for an op; where it is not installed, references serve the GPU.
"""

from importlib.util import find_spec

from kernels.registry import register_module

__all__ = ["register_triton"]


def register_triton(op: str, module: str) -> None:
    """Make the function `op` of `module` what serves GPUs, if Triton is installed."""
    if find_spec("triton") is not None:
        register_module(op, "cuda", module)
