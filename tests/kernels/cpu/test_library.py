"""Finding the compiled kernels, choosing their instruction set, and doing without them."""

import ctypes
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernels.cpu_library import (
    CPULibrary,
    cpu_library,
    select_instruction_set,
    supported_instruction_sets,
)
from kernels.errors import KernelError
from kernels.grouped_linear.cases import GroupedLinearCase
from kernels.paged_attention.cases import CASES, TOLERANCES
from kernels.paged_attention.reference import paged_attention as reference
from kernels.panel_linear.cases import TOLERANCES as LINEAR_TOLERANCES
from kernels.panel_linear.weight import to_tiles
from kernels.registry import resolve
from tests.kernels.arguments import arguments
from tests.kernels.cpu.long_cases import LONG_CASES

ROOT = Path(__file__).parents[3]
needs_library = pytest.mark.skipif(cpu_library() is None, reason="the CPU kernels are not built")
AVAILABLE = "from kernels.registry import available; print(available('cpu')['paged_attention'])"
INSTRUCTION_SET = "from kernels.cpu_library import instruction_set; print(instruction_set())"


def python(code, folder=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-c", f"import logging; logging.basicConfig()\n{code}"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def without_library(tmp_path):
    """A folder with the package as it is where it was not compiled."""
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels", ignore=shutil.ignore_patterns("*.so"))
    return tmp_path


def test_without_the_library_the_references_answer_with_one_warning(without_library):
    run = python(f"{AVAILABLE}\n{AVAILABLE}\n{INSTRUCTION_SET}", folder=without_library)
    assert run.stdout.split() == ["reference", "reference", "reference"]
    assert len(run.stderr.splitlines()) == 1
    assert "compiled CPU kernels are not there" in run.stderr


def test_library_that_cannot_be_loaded_is_as_good_as_none(without_library):
    (without_library / "kernels" / "libheadrace_cpu.so").write_text("not a library")
    run = python(AVAILABLE, folder=without_library)
    assert run.stdout.strip() == "reference"
    assert run.stderr.count("WARNING") == 1


@needs_library
@pytest.mark.parametrize("name", ["portable", "avx2", "avx512", "amx"])
def test_variable_lowers_the_instruction_set(name):
    run = python(INSTRUCTION_SET, HEADRACE_CPU_ISA=name)
    supported = supported_instruction_sets()
    assert run.stdout.strip() == (name if name in supported else supported[-1])
    assert run.stderr == ""


def test_variable_can_ask_for_the_references():
    run = python(f"{AVAILABLE}\n{INSTRUCTION_SET}", HEADRACE_CPU_ISA="reference")
    assert run.stdout.split() == ["reference", "reference"]
    assert run.stderr == ""


def test_unknown_instruction_set_is_refused():
    run = python(AVAILABLE, HEADRACE_CPU_ISA="avx3")
    assert "KernelError: HEADRACE_CPU_ISA='avx3' is not one of: portable, avx2" in run.stderr
    with pytest.raises(KernelError, match="avx3"):
        select_instruction_set("avx3")


@needs_library
def test_library_of_another_version_is_refused():
    class Arguments(ctypes.Structure):
        _fields_ = (("query", ctypes.c_void_p),)

    with pytest.raises(KernelError, match="another version"):
        cpu_library().function("paged_attention", Arguments)


@needs_library
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_computes_on_the_threads_that_torch_has():
    run = python(
        "import os, torch; torch.set_num_threads(3)\n"
        "from kernels.registry import resolve\n"
        "from tests.kernels.arguments import arguments\n"
        "from tests.kernels.cpu.long_cases import LONG_CASES\n"
        "inputs = arguments(LONG_CASES[1].make_inputs(torch.float32))\n"
        "(torch.ones(300, 300, 30) + 1).sum()\n"
        "def ran():\n"
        "    tasks = os.listdir('/proc/self/task')\n"
        "    return {t: open(f'/proc/self/task/{t}/schedstat').read().split()[0] for t in tasks}\n"
        "before = ran()\n"
        "resolve('paged_attention', 'cpu')(**inputs)\n"
        "after = ran()\n"
        "maps = open('/proc/self/maps').read().split()\n"
        "print(len(after) - len(before), sum(after[t] != before[t] for t in before))\n"
        "print(len({x for x in maps if 'omp' in x}))",
        OMP_WAIT_POLICY="PASSIVE",
    )
    num_new, num_busy, num_runtimes = map(int, run.stdout.split())
    assert num_new == 0
    assert num_busy == 3
    assert num_runtimes == 1


def test_memory_of_a_call_is_used_again(compiled):
    inputs = arguments(LONG_CASES[1].make_inputs(torch.bfloat16))
    attend = resolve("paged_attention", "cpu")
    for _ in range(5):
        attend(**inputs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        attend(**inputs)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 200


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """The kernels with AMX tiles in plain C++."""
    if "avx512" not in supported_instruction_sets():
        pytest.skip("the code around AMX tiles is AVX-512")
    folder = tmp_path_factory.mktemp("emulated")
    flags = "-DHEADRACE_EMULATE_AMX"
    build = [sys.executable, "setup.py", "-q", "build_ext", f"-b{folder}", f"-t{folder}"]
    environment = {**os.environ, "CFLAGS": flags, "CXXFLAGS": flags}
    subprocess.run(build, cwd=ROOT, env=environment, check=True, capture_output=True)
    library = CPULibrary(folder / "kernels" / "libheadrace_cpu.so")
    library.select("amx")
    return library


@needs_library
@pytest.mark.slow
@pytest.mark.parametrize("counts", [(1,), (40,), (0, 17, 33, 64, 100)])
def test_code_around_amx_tiles_multiplies_like_the_reference(emulated, monkeypatch, counts):
    from kernels.panel_linear import cpu, reference

    monkeypatch.setattr(cpu, "_call", emulated.function("panel_linear", cpu._Arguments))
    monkeypatch.setattr(cpu, "multiplies_tiles", lambda: True)
    case = GroupedLinearCase(
        name="x", counts=counts, num_inputs=352, num_outputs=150, has_bias=True
    )
    inputs = case.make_inputs(torch.bfloat16)
    arguments_of_call = (inputs.x, to_tiles(inputs.weight), inputs.ends, inputs.bias.float())
    output = cpu.panel_linear(*arguments_of_call)
    LINEAR_TOLERANCES[torch.bfloat16].check(output, reference.panel_linear(*arguments_of_call))


@needs_library
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES + LONG_CASES, ids=lambda case: case.name)
def test_code_around_amx_tiles_agrees_with_the_reference(emulated, monkeypatch, case):
    from kernels.paged_attention import cpu

    monkeypatch.setattr(cpu, "_call", emulated.function("paged_attention", cpu.AttentionArguments))
    inputs = arguments(case.make_inputs(torch.bfloat16))
    output = cpu.paged_attention(**inputs)
    TOLERANCES[torch.bfloat16].check(output, reference(**inputs))
    torch.set_num_threads(2)
    assert torch.equal(cpu.paged_attention(**inputs), output)
