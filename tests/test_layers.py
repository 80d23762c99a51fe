"""The arrows of the architecture, read from the imports: worker -> jobs, engine, schemas;
jobs -> schemas; engine -> kernels."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("engine", "jobs", "kernels", "schemas", "worker")
ALLOWED = {
    "worker": {"worker", "jobs", "engine", "schemas"},
    "jobs": {"jobs", "schemas"},
    "engine": {"engine", "kernels"},
    "schemas": {"schemas"},
    "kernels": {"kernels"},
}
# Third-party modules a package must do without; engine and kernels run on machines that lack them.
FORBIDDEN = {
    "engine": {"pydantic", "redis", "fastapi", "uvicorn", "arq", "prometheus_client", "typer"},
    "kernels": {"pydantic", "redis", "fastapi", "transformers", "arq", "prometheus_client"},
    "jobs": {"torch", "transformers", "triton"},
    "schemas": {"torch", "transformers", "redis", "pyarrow", "fastapi"},
    "worker": {"arq"},
}
# The files that own a device and may say torch.cuda.
DEVICE_FILES = {"engine/cuda_graphs.py", "engine/device.py"}


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _all_files() -> list[Path]:
    return [path for package in PACKAGES for path in _files(package)]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down(package: str) -> None:
    files = _files(package)
    assert len(files) > 3, f"{package} was not found"
    for path in files:
        for module in _imports(path):
            top = module.partition(".")[0]
            if top in PACKAGES:
                assert top in ALLOWED[package], f"{_id(path)} must not import {module}"
            assert top not in FORBIDDEN[package], f"{_id(path)} must not import {module}"
            assert top != "tests", f"{_id(path)} imports test code"


def test_only_the_lifecycle_imports_arq() -> None:
    for path in _all_files():
        if "arq" in {module.partition(".")[0] for module in _imports(path)}:
            assert _id(path) == "jobs/lifecycle.py"


def test_async_functions_live_in_jobs_worker_and_the_async_engine() -> None:
    for path in _all_files():
        if _id(path).startswith(("jobs/", "worker/")) or _id(path) == "engine/async_engine.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.AsyncFunctionDef), f"{_id(path)}:{node.lineno}"


def test_only_device_files_name_cuda() -> None:
    for path in _all_files():
        if _id(path) in DEVICE_FILES:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "cuda":
                assert ast.unparse(node.value) != "torch", f"{_id(path)}:{node.lineno}"


@pytest.mark.parametrize(
    "module",
    [
        "headrace",
        "jobs.redis_queue",
        "schemas.chat",
        "worker.cli",
        "worker.serve",
        "worker.control",
    ],
)
def test_no_torch_behind_a_light_import(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'transformers'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    "module", ["engine.core", "engine.scheduler", "engine.model.source", "worker.run_plan"]
)
def test_what_decides_needs_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_kernels_package_does_not_claim_to_be_the_other_one() -> None:
    assert "__version__" not in (ROOT / "kernels" / "__init__.py").read_text()


def test_the_python_api_only_re_exports() -> None:
    path = ROOT / "headrace.py"
    assert {type(node) for node in ast.parse(path.read_text()).body[1:]} == {
        ast.ImportFrom,
        ast.Assign,
    }
    assert {module.partition(".")[0] for module in _imports(path)} == {"jobs", "worker"}


def test_nothing_imports_ray() -> None:
    for path in [*_all_files(), ROOT / "headrace.py"]:
        assert "ray" not in {module.partition(".")[0] for module in _imports(path)}, _id(path)


def test_no_file_outgrows_its_limit() -> None:
    for path in _all_files():
        assert len(path.read_text().splitlines()) <= 400, f"{_id(path)}: split it"
