import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.demo_model.builder import build_demo_model, demo_model_path
from engine.errors import EngineError

ROOT = Path(__file__).parents[3]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_build_gives_the_same_bits(demo_folder: Path, tmp_path: Path) -> None:
    """Also in another process, with another hash seed and number of threads."""
    code = (
        "import sys; from pathlib import Path; from engine.demo_model.builder import "
        "build_demo_model; build_demo_model(Path(sys.argv[1]))"
    )
    environment = {"PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "3", "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=environment, check=True
    )
    assert _contents(tmp_path) == _contents(demo_folder)


def test_it_is_an_ordinary_checkpoint_with_an_end(demo_folder: Path) -> None:
    config = json.loads((demo_folder / "config.json").read_text())
    tokenizer = json.loads((demo_folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    added = {token["content"]: token for token in tokenizer["added_tokens"]}
    assert config["model_type"] == "qwen3"
    assert config["vocab_size"] == 2048
    assert vocabulary["<|im_end|>"] == config["eos_token_id"]
    assert added["<|im_start|>"]["special"]
    assert not added["<tool_call>"]["special"]
    assert sum(path.stat().st_size for path in demo_folder.iterdir()) < 12 * 2**20


def test_it_is_built_once_and_then_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "new" / "cache"))
    folder = demo_model_path()
    stamp = (folder / "config.json").stat().st_mtime_ns
    assert demo_model_path() == folder
    assert (folder / "config.json").stat().st_mtime_ns == stamp
    assert [path for path in folder.parent.iterdir() if path != folder] == []


def test_the_cache_is_in_the_home_folder_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADRACE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert demo_model_path().parent == tmp_path / ".cache" / "headrace"


def test_several_processes_may_build_at_once(tmp_path: Path) -> None:
    code = "from engine.demo_model.builder import demo_model_path; print(demo_model_path())"
    environment = {"HEADRACE_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    answers = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    (answer,) = answers
    folder = Path(answer.decode().strip())
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "model.safetensors").stat().st_size > 10**6


def test_a_builder_that_lost_the_race_takes_the_other_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    target = demo_model_path()
    shutil.rmtree(target)

    def build_and_be_overtaken(draft: Path) -> None:
        build_demo_model(draft)
        target.mkdir()
        (target / "winner").touch()

    monkeypatch.setattr("engine.demo_model.builder.build_demo_model", build_and_be_overtaken)
    assert demo_model_path() == target
    assert list(tmp_path.iterdir()) == [target]
    assert [path.name for path in target.iterdir()] == ["winner"]


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(EngineError, match=r"cannot be written to .*file.*; set HEADRACE_CACHE"):
        demo_model_path()
