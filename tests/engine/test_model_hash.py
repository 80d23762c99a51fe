from pathlib import Path

import pytest

from engine.model_hash import model_hash

LARGE = 40 * 2**20


def _write(folder: Path, **files: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name.replace("_dot_", ".")).write_bytes(data)
    return folder


def test_the_same_files_have_the_same_hash_wherever_they_are(tmp_path: Path) -> None:
    files = {"config_dot_json": b"{}", "model_dot_safetensors": b"abc"}
    first, second = _write(tmp_path / "a", **files), _write(tmp_path / "b", **files)
    assert model_hash(first) == model_hash(second)
    assert len(model_hash(first)) == 32


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"]
)
def test_every_file_that_changes_tokens_counts(tmp_path: Path, name: str) -> None:
    _write(tmp_path, config_dot_json=b"{}", model_dot_safetensors=b"abc")
    before = model_hash(tmp_path)
    (tmp_path / name).write_bytes(b"changed")
    assert model_hash(tmp_path) != before


def test_other_files_do_not_count(tmp_path: Path) -> None:
    _write(tmp_path, config_dot_json=b"{}")
    before = model_hash(tmp_path)
    _write(tmp_path, README_dot_md=b"words", picture_dot_png=b"pixels")
    (tmp_path / "folder.json").mkdir()
    assert model_hash(tmp_path) == before


def test_a_file_moved_into_another_name_counts(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", a_dot_json=b"1", b_dot_json=b"2")
    second = _write(tmp_path / "b", a_dot_json=b"2", b_dot_json=b"1")
    assert model_hash(first) != model_hash(second)


@pytest.mark.parametrize("offset", [0, 2**20 - 1, LARGE - 1])
def test_large_weights_are_sampled_at_both_ends_and_by_size(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(LARGE)
    before = model_hash(tmp_path)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"x")
    changed = model_hash(tmp_path)
    assert changed != before
    with path.open("r+b") as file:
        file.truncate(LARGE + 1)
    assert model_hash(tmp_path) not in (before, changed)


def test_new_weights_of_the_same_size_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    hashes = set()
    for fill in (b"\x00", b"\x01"):
        path.write_bytes(b"H" * 2**20 + fill * LARGE)
        hashes.add(model_hash(tmp_path))
    assert len(hashes) == 2
