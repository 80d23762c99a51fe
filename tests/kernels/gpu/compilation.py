"""Compiling Triton kernels ahead of time, without a GPU, and reading what they need of one."""

import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

__all__ = ["Needs", "compile_kernel"]


@dataclass(frozen=True)
class Needs:
    """Per thread: registers, and bytes of local memory (spills). Per program: shared bytes."""

    registers: int
    local_bytes: int
    shared_bytes: int
    ptx: str


@cache
def _tool() -> Path:
    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def compile_kernel(
    kernel: Any,
    types: dict[str, str],
    constants: dict[str, Any],
    architecture: int,
    *,
    aligned: Sequence[str] = (),
    **options: int,
) -> Needs:
    """Compile for sm_<architecture>. `types` are Triton's names for the arguments that are no
    constants: "*bf16", "i32", "fp32". `aligned` are those that are multiples of 16, which Triton
    sees for itself when it compiles for a call.
    """
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={n: "constexpr" if n in constants else types[n] for n in names},
        constexprs={(names.index(n),): value for n, value in constants.items()},
        attrs={(names.index(n),): [["tt.divisibility", 16]] for n in aligned},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about defaults of Triton's next version
        compiled = triton.compile(
            source, target=GPUTarget("cuda", architecture, 32), options=options
        )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        told = subprocess.run(
            [_tool(), "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    usage = dict(
        part.split(":") for part in told.split() if part.count(":") == 1 and part[-1] != ":"
    )
    return Needs(
        registers=int(usage["REG"]),
        local_bytes=int(usage["STACK"]) + int(usage["LOCAL"]),
        shared_bytes=compiled.metadata.shared,
        ptx=compiled.asm["ptx"],
    )
