"""The hub's address is read when its library is imported, so hub tests run in a process of their
own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import ModelRefusedError
from engine.model.source import resolve_model
from tests.engine.model.fake_hub import COMMIT, fake_hub

ROOT = Path(__file__).parents[3]
CODE = """
import sys
from engine.errors import EngineError
from engine.model.source import resolve_model
try:
    print(resolve_model(sys.argv[1], sys.argv[2] or None))
except EngineError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "original").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text(name)
    for name in ("pytorch_model.bin", "README.md", "original/params.json", "run.py"):
        (folder / name).write_text("not wanted")
    return folder


def _resolve(address: str, cache: Path, model: str, revision: str = "", **environment: str) -> str:
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **environment,
    }
    result = subprocess.run(
        [sys.executable, "-c", CODE, model, revision],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_folder_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_model(str(tmp_path)) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert resolve_model(f"~/{tmp_path.name}") == tmp_path


def test_demo_is_in_the_package() -> None:
    folder = resolve_model("demo")
    assert folder.is_relative_to(ROOT)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6


@pytest.mark.parametrize("model", ["/no/such/folder", "./nothing", "a/b/c", "../x", "", "a b"])
def test_a_path_without_a_folder_is_refused_without_asking_the_hub(model: str) -> None:
    with pytest.raises(ModelRefusedError, match="there is no such folder"):
        resolve_model(model)


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.touch()
    with pytest.raises(ModelRefusedError, match="it is a file; --model wants the folder"):
        resolve_model(str(path))


def test_a_hub_model_is_downloaded_once_and_then_found_offline(
    repository: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    with fake_hub(repository, "org/model") as address:
        folder = Path(_resolve(address, cache, "org/model", "v1"))
    assert folder.name == COMMIT
    assert folder.is_relative_to(cache)
    assert {path.name for path in folder.rglob("*")} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
    }
    offline = _resolve("http://127.0.0.1:9", cache, "org/model", "v1", HF_HUB_OFFLINE="1")
    assert Path(offline) == folder


@pytest.mark.parametrize(
    ("model", "revision", "reason"),
    [
        ("org/other", "", "neither a folder here nor a model on the hub"),
        ("org/model", "v9", "org/model (revision v9): neither a folder"),
        ("org/gated", "", "grant access one by one"),
    ],
)
def test_what_the_hub_does_not_give_is_refused(
    repository: Path, tmp_path: Path, model: str, revision: str, reason: str
) -> None:
    with fake_hub(repository, "org/model") as address:
        answer = _resolve(address, tmp_path / "cache", model, revision)
    assert answer.startswith(f"ModelRefusedError cannot run {model}")
    assert reason in answer


@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_a_hub_and_a_cached_copy_the_model_is_refused(tmp_path: Path, offline: str) -> None:
    answer = _resolve("http://127.0.0.1:9", tmp_path, "org/model", HF_HUB_OFFLINE=offline)
    assert answer.startswith("ModelRefusedError cannot run org/model")
    assert "hub was not reached" in answer
