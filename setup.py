"""Builds the compiled CPU kernels. Everything else about the package is in pyproject.toml.

The kernels are optional: if they do not compile (no compiler, an old one, another platform), the
installation succeeds all the same, and the engine uses their references.
"""

import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FOLDER = Path("kernels/cpu")
FLAGS = ["-std=c++17", "-O3", "-g0", "-fvisibility=hidden", "-ffp-contract=fast"]
FLAGS += ["-Wno-psabi"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
AVX512 += ["-mprefer-vector-width=512"]
# Each instruction set is a source of its own with flags of its own; which one runs is chosen when
# the library is loaded.
SOURCES: dict[str, list[str]] = {
    "attention.cpp": [],
    "attention_plan.cpp": [],
    "attention_sharing.cpp": [],
    "decoder.cpp": [],
    "elementwise.cpp": [],
    "isa_portable.cpp": [],
    "library.cpp": [],
    "panel_linear.cpp": [],
    "processor.cpp": [],
    "threads.cpp": [],
    "write_kv.cpp": [],
}
if platform.machine() in ("x86_64", "AMD64"):
    SOURCES |= {
        "isa_avx2.cpp": ["-mavx2", "-mfma", "-mf16c"],
        "isa_avx512.cpp": AVX512,
        "isa_vnni.cpp": [*AVX512, "-mavx512vnni"],
        "isa_amx.cpp": [*AVX512, "-mamx-tile", "-mamx-bf16"],
    }


class BuildKernels(build_ext):
    """Compiles a plain shared library, which Python loads by ctypes."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        objects = [
            compiled
            for source, flags in SOURCES.items()
            for compiled in self.compiler.compile(
                [str(FOLDER / source)],
                output_dir=self.build_temp,
                extra_postargs=[*FLAGS, *flags],
            )
        ]
        self.compiler.link_shared_object(
            objects, self.get_ext_fullpath(ext.name), target_lang="c++"
        )


setup(
    ext_modules=[
        Extension(
            "kernels.libheadrace_cpu",
            sources=[str(FOLDER / source) for source in SOURCES],
            depends=[str(header) for header in sorted(FOLDER.glob("*.h"))],
            language="c++",
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildKernels},
)
