"""The compiled CPU kernels: a shared library, built from `kernels/cpu` when headrace is installed.

Owns: finding the library, its instruction set, its threads, the declared signatures. Must not know:
what the ops compute; each op's `cpu.py` does.

The library brings no thread pool of its own: it computes on torch's (see `_parallel_region`), with
as many threads as the caller passes, which should be `torch.get_num_threads()`. Instruction sets
differ in the last bits of results; within one, a result depends neither on threads nor on what else
is computed in the same call.

`HEADRACE_CPU_ISA` names the highest instruction set to use: amx (the default), avx512, avx2,
portable, or "reference" for no compiled kernels at all.
"""

import ctypes
import logging
import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from kernels.errors import KernelError
from kernels.registry import register

__all__ = [
    "CPULibrary",
    "cpu_library",
    "instruction_set",
    "multiplies_int8",
    "multiplies_tiles",
    "register_compiled",
    "select_instruction_set",
    "supported_instruction_sets",
    "use_invariant_attention",
]

_log = logging.getLogger(__name__)

_FILE = Path(__file__).with_name("libheadrace_cpu.so")
_VARIABLE = "HEADRACE_CPU_ISA"
_REFERENCE = "reference"
# By rising demands; the index is what the library calls them.
_INSTRUCTION_SETS = ("portable", "avx2", "avx512", "amx")
_DEFAULT = "amx"
_FUNCTIONS = (
    *("paged_attention", "write_kv", "rms_norm", "gated", "rope"),
    *("attention_tiles", "panel_linear", "decoder_layers"),
)
# What is handed to each, then what those point to.
_STRUCTURES = (*_FUNCTIONS, "decoder_layer")
_OUT_OF_MEMORY = 1


class CPULibrary:
    """The loaded library. Raises OSError or AttributeError if it is not there or from elsewhere."""

    def __init__(self, file: Path) -> None:
        library = ctypes.CDLL(str(file))
        library.headrace_use_threads.argtypes = [ctypes.c_void_p]
        library.headrace_use_threads.restype = None
        library.headrace_select.argtypes = [ctypes.c_int64]
        region = _parallel_region()
        if region is None:
            _log.warning("torch's OpenMP library was not found: CPU kernels use one thread")
        library.headrace_use_threads(region)
        sizes = (ctypes.c_int64 * len(_STRUCTURES))()
        library.headrace_argument_sizes(sizes)
        self.argument_bytes = dict(zip(_STRUCTURES, sizes, strict=True))
        self.supported = _INSTRUCTION_SETS[: library.headrace_supported() + 1]
        self._functions = {name: library[f"headrace_{name}"] for name in _FUNCTIONS}
        for function in self._functions.values():
            function.argtypes = [ctypes.c_void_p]
        self._select = library.headrace_select
        self._rounds_rows = library.headrace_rounds_rows
        self._multiplies_tiles = library.headrace_multiplies_tiles
        self.use_invariant_attention = library.headrace_use_invariant_attention
        self.use_invariant_attention.restype = None

    def select(self, name: str) -> None:
        """Compute with this instruction set from now on; not while another thread computes.

        It is not checked that the processor offers it: one that does not ends the process.
        """
        if self._select(_INSTRUCTION_SETS.index(name)) != 0:
            raise KernelError(f"the CPU kernels were built without {name!r}")
        self.instruction_set = name
        self.multiplies_int8 = bool(self._rounds_rows())
        self.multiplies_tiles = bool(self._multiplies_tiles())

    def check_size(self, name: str, structure: type[ctypes.Structure]) -> None:
        """Raises KernelError if the library's structure `name` is not as large as this one."""
        if ctypes.sizeof(structure) != self.argument_bytes[name]:
            raise KernelError(f"{_FILE} is from another version: install headrace again")

    def function(
        self, name: str, arguments: type[ctypes.Structure]
    ) -> Callable[[ctypes.Structure], None]:
        """The library's function `name`, for its arguments in a structure of this type.

        Calling it raises MemoryError, or IndexError if a block or slot lies outside of the cache.
        """
        self.check_size(name, arguments)
        function = self._functions[name]
        by_reference = ctypes.byref

        def call(values: ctypes.Structure) -> None:
            status = function(by_reference(values))
            if status == _OUT_OF_MEMORY:
                raise MemoryError(f"no memory for the scratch space of {name}")
            if status:
                raise IndexError(f"{name}: a row, block or slot lies outside of its tensor")

        return call


@cache
def cpu_library() -> CPULibrary | None:
    """The library, with its instruction set chosen; None, with one warning in the log, where it
    cannot be used. Raises KernelError if HEADRACE_CPU_ISA is none of the names.
    """
    wanted = os.environ.get(_VARIABLE) or _DEFAULT
    if wanted == _REFERENCE:
        return None
    if wanted not in _INSTRUCTION_SETS:
        names = ", ".join((*_INSTRUCTION_SETS, _REFERENCE))
        raise KernelError(f"{_VARIABLE}={wanted!r} is not one of: {names}")
    try:
        library = CPULibrary(_FILE)
    except (OSError, AttributeError) as error:
        _log.warning(
            "the compiled CPU kernels are not there, so that much is slower on the CPU: install "
            "a C++ compiler (GCC 11 or Clang 14, or newer) and then headrace again (%s)",
            error,
        )
        return None
    library.select(min(wanted, library.supported[-1], key=_INSTRUCTION_SETS.index))
    return library


def register_compiled(op: str, module: str) -> None:
    """Make the function `op` of `module` what serves the CPU, if the library is there."""
    if cpu_library() is not None:
        register(op, "cpu", getattr(import_module(module), op))


def instruction_set() -> str:
    """What CPU kernels compute with, which decides the bits of their results: "avx512", ...,
    "reference".
    """
    library = cpu_library()
    return _REFERENCE if library is None else library.instruction_set


def multiplies_int8() -> bool:
    """Whether the kernels have products of int8 rows and weights here (AVX-512 VNNI)."""
    library = cpu_library()
    return library is not None and library.multiplies_int8


def multiplies_tiles() -> bool:
    """Whether the kernels have products of bfloat16 rows and weights in tiles here (AMX)."""
    library = cpu_library()
    return library is not None and library.multiplies_tiles


def supported_instruction_sets() -> tuple[str, ...]:
    """Those that can be selected here, by rising demands; empty without the library."""
    library = cpu_library()
    return () if library is None else library.supported


def select_instruction_set(name: str) -> None:
    """Compute with this one from now on. Raises KernelError if it cannot be selected here."""
    library = cpu_library()
    if library is None or name not in library.supported:
        names = ", ".join(supported_instruction_sets()) or "none"
        raise KernelError(f"instruction set {name!r} is not there; there are: {names}")
    library.select(name)


def use_invariant_attention() -> None:
    """From now on, attention gives a token the same bits however its prompt is cut into calls, also
    where that is slower (AMX). Until an instruction set is selected.
    """
    library = cpu_library()
    if library is not None:
        library.use_invariant_attention()


def _parallel_region() -> Any:
    """The address of GOMP_parallel in the OpenMP library that torch computes with, whatever its
    name: it is looked up among the libraries that torch's own depends on. None if there is none.
    """
    file = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        return ctypes.cast(ctypes.CDLL(str(file)).GOMP_parallel, ctypes.c_void_p)
    except (OSError, AttributeError):
        return None
