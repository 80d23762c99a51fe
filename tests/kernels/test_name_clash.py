import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version
from transformers.utils.import_utils import KERNELS_MAX_VERSION, KERNELS_MIN_VERSION

ROOT = Path(__file__).parents[2]

CHECK = "from kernels.name_clash import check_name_clash; check_name_clash()"

LOAD = """
import sys
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils.import_utils import is_kernels_available
import kernels, kernels.registry

config = LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=1,
)
LlamaForCausalLM(config).save_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
assert model(torch.arange(5)[None]).logits.isfinite().all()
assert not is_kernels_available()
print(kernels.__file__)
"""


def python(code, *arguments, path=()):
    """Run code with this repository first on sys.path, then `path`."""
    prelude = f"import sys; sys.path[:0] = {[str(ROOT), *map(str, path)]!r}\n"
    return subprocess.run(
        [sys.executable, "-P", "-c", prelude + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def other_package(tmp_path):
    """Metadata as an installer leaves it, of a version that transformers accepts."""
    folder = tmp_path / f"kernels-{KERNELS_MIN_VERSION}.dist-info"
    folder.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: kernels\nVersion: {KERNELS_MIN_VERSION}\n"
    (folder / "METADATA").write_text(metadata)
    return tmp_path


def test_model_loads_with_our_package_first_on_the_path(tmp_path):
    run = python(LOAD, tmp_path)
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()) == ROOT / "kernels" / "__init__.py"


def test_check_passes_without_the_other_package():
    run = python(CHECK)
    assert run.returncode == 0, run.stderr


def test_check_says_in_one_sentence_what_to_uninstall(other_package):
    run = python(CHECK, path=[other_package])
    assert run.returncode != 0
    message = run.stderr.strip().splitlines()[-1]
    assert message.startswith("kernels.errors.NameClashError: the installed package 'kernels'")
    assert KERNELS_MIN_VERSION in message
    assert "`pip uninstall kernels`" in message


def test_error_is_a_runtime_error():
    from kernels.errors import NameClashError

    assert issubclass(NameClashError, RuntimeError)


def test_check_guards_against_something_real(tmp_path, other_package):
    """If this fails, transformers no longer trips over the clash and the check may go."""
    run = python(LOAD, tmp_path / "model", path=[other_package])
    assert run.returncode != 0
    assert re.search(r"cannot import name '\w+' from 'kernels'", run.stderr)


def test_own_package_has_no_version_attribute():
    tree = ast.parse((ROOT / "kernels" / "__init__.py").read_text())
    assert [type(node) for node in tree.body] == [ast.Expr]  # the docstring and nothing else


def test_own_version_is_not_one_that_transformers_takes_for_the_other_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = Version(project["version"])
    assert not Version(KERNELS_MIN_VERSION) <= own < Version(KERNELS_MAX_VERSION)
