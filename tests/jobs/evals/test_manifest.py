"""The manifest of an evaluation."""

import json
from pathlib import Path

import pytest

from jobs.errors import InputError
from jobs.evals.manifest import changes, fingerprints_of, read_manifest, rows_hash
from jobs.evals.results import RowResult
from tests.jobs.evals.builders import manifest, said, scored

ROWS = scored(a="yes", b="no")


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = manifest(ROWS, pass_at=[1, 2], samples=2)
    path = written.write(tmp_path)
    assert read_manifest(tmp_path) == written
    assert json.loads(path.read_text())["model"] == {"name": "m", "hash": "h1"}


def test_the_rows_hash_stands_for_answers_and_verdicts() -> None:
    assert rows_hash(ROWS) == rows_hash(scored(a="yes", b="no"))
    others = [scored(a="yes", b="nope"), scored(a="yes"), scored(b="no", a="yes")]
    others.append(scored(a="yes", b=RowResult(error="no")))
    assert len({rows_hash(ROWS), *map(rows_hash, others)}) == 5


def test_engines_are_counted_by_their_rows() -> None:
    rows = scored(a=said("x", fingerprint="old"), b="x", c="x", d=RowResult(error="e"))
    assert fingerprints_of(rows) == {"fp_1": 2, "old": 1}


def test_what_changed_is_named_most_telling_first() -> None:
    before = manifest(ROWS)
    after = manifest(
        ROWS,
        model_hash="h2",
        fingerprints={"fp_2": 2},
        settings={"seed": 1, "metrics_port": 2, "deterministic": True},
        versions={"torch": "2"},
    )
    found = [(change.what, change.before, change.after) for change in changes(before, after)]
    assert found == [
        ("model hash", "h1", "h2"),
        ("engine fingerprint", "fp_1", "fp_2"),
        ("--deterministic", "not there", "True"),
        ("--seed", "0", "1"),
        ("version of torch", "1", "2"),
    ]
    assert changes(before, manifest(ROWS, settings={"seed": 0, "metrics_port": 9})) == []


@pytest.mark.parametrize("content", [None, "{", "{}", "[]"])
def test_a_folder_without_a_manifest_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "eval.json").write_text(content)
    with pytest.raises(InputError, match=r"eval\.json cannot be read"):
        read_manifest(tmp_path)
