import itertools
import json
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import StoreDamagedError, StoreWriteError
from jobs.sinks.final import write_final_files
from jobs.sinks.manifest import RunFacts
from jobs.sinks.merge import rows_in_order
from jobs.sinks.target import Target, parse_target, prepare_target
from jobs.store import PartStore
from schemas.result import ResultRow
from tests.jobs.builders import make_row, names_in

FACTS = RunFacts(input_path="in.jsonl", input_sha256="00")


def open_target(path: Path | str) -> Target:
    target = parse_target(str(path))
    prepare_target(target)
    return target


def store_of(target: Target, rows: Sequence[ResultRow], generation: int = 1) -> PartStore:
    assert target.state_folder is not None
    store = PartStore.open(target.state_folder / f"generation-{generation:04d}", f"b{generation}")
    mixed = random.Random(3).sample(list(rows), len(rows))
    for first in range(0, len(mixed), 7):
        store.append(mixed[first : first + 7])
    return store


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def mixed_rows(count: int = 30) -> list[ResultRow]:
    return [make_row(idx, status_code=400 if idx % 5 == 0 else 200) for idx in range(count)]


def test_a_folder_gets_all_four_files_in_input_order(tmp_path: Path) -> None:
    target = open_target(tmp_path / "out")
    report = write_final_files(target, store_of(target, mixed_rows()), facts=FACTS)
    out = tmp_path / "out"
    names = ["output.jsonl", "errors.jsonl", "results.parquet", "run.json"]
    assert [path.name for path in report.files] == names
    assert all(path.parent == out for path in report.files)
    good = [f"request-{idx}" for idx in range(30) if idx % 5]
    bad = [f"request-{idx}" for idx in range(30) if idx % 5 == 0]
    assert [line["custom_id"] for line in lines(out / "output.jsonl")] == good
    assert [line["custom_id"] for line in lines(out / "errors.jsonl")] == bad
    assert pq.read_table(out / "results.parquet")["idx"].to_pylist() == list(range(30))
    run = json.loads((out / "run.json").read_text())
    assert run["counts"]["ok"] == report.counts.num_ok == 24
    assert run["files"] == names[:3]
    assert names_in(out) == sorted([*names, ".headrace"])
    assert names_in(out / ".headrace") == ["generation-0001"]


def test_a_jsonl_target_holds_all_rows_and_exists_even_without_any(tmp_path: Path) -> None:
    target = open_target(tmp_path / "x.jsonl")
    write_final_files(target, store_of(target, mixed_rows()), facts=FACTS)
    ids = [line["custom_id"] for line in lines(tmp_path / "x.jsonl")]
    assert ids == [f"request-{idx}" for idx in range(30)]
    report = write_final_files(target, store_of(target, [], 2), facts=FACTS)
    assert (tmp_path / "x.jsonl").read_bytes() == b""
    assert report.counts.num_rows == 0


def test_a_parquet_target_is_one_file_under_its_own_name(tmp_path: Path) -> None:
    target = open_target(tmp_path / "x.Parquet")
    report = write_final_files(target, store_of(target, mixed_rows()), facts=FACTS)
    assert report.files == (tmp_path / "x.Parquet",)
    assert pq.read_table(tmp_path / "x.Parquet")["idx"].to_pylist() == list(range(30))
    assert names_in(tmp_path) == [".x.Parquet.headrace", "x.Parquet"]


def test_files_of_an_earlier_run_that_have_no_successor_go(tmp_path: Path) -> None:
    target = open_target(tmp_path / "out")
    write_final_files(target, store_of(target, mixed_rows()), facts=FACTS)
    (tmp_path / "out" / "results-00000.parquet").write_bytes(b"old")
    (tmp_path / "out" / "notes.txt").write_text("the user's")
    write_final_files(target, store_of(target, [make_row(0)], 2), facts=FACTS)
    names = [".headrace", "notes.txt", "output.jsonl", "results.parquet", "run.json"]
    assert names_in(tmp_path / "out") == names


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    target = open_target(tmp_path / "out")
    store = store_of(target, mixed_rows())
    first = write_final_files(target, store, facts=FACTS)
    before = [path.read_bytes() for path in first.files]
    second = write_final_files(target, store, facts=FACTS)
    assert [path.read_bytes() for path in second.files] == before


@pytest.mark.parametrize("name", ["out", "x.jsonl", "x.parquet"])
@pytest.mark.parametrize("after_tables", [0, 1])
def test_a_failure_leaves_the_earlier_files_alone_and_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after_tables: int
) -> None:
    target = open_target(tmp_path / name)
    write_final_files(target, store_of(target, [make_row(0)]), facts=FACTS)
    before = {path.name: path.read_bytes() for path in target.final_files()}
    store = store_of(target, mixed_rows(), 2)

    def fail_midway(*args: Any) -> Iterator[pa.Table]:
        yield from itertools.islice(rows_in_order(*args), after_tables)
        raise StoreDamagedError("a part is damaged", path=store.folder)

    monkeypatch.setattr("jobs.sinks.final.rows_in_order", fail_midway)
    with pytest.raises(StoreDamagedError):
        write_final_files(target, store, facts=FACTS)
    assert {path.name: path.read_bytes() for path in target.final_files()} == before
    assert target.state_folder is not None
    assert names_in(target.state_folder) == ["generation-0001", "generation-0002"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("alive_for", range(8))
def test_a_kill_among_the_last_steps_is_healed_by_repeating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive_for: int
) -> None:
    target = open_target(tmp_path / "out")
    write_final_files(target, store_of(target, [make_row(0, status_code=500)]), facts=FACTS)
    store = store_of(target, [make_row(0, content="new"), make_row(1)], 2)
    calls: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("replace", "unlink"):
            patch.setattr(os, name, _mortal(getattr(os, name), calls, alive_for))
        try:
            write_final_files(target, store, facts=FACTS)
        except Killed:
            run = tmp_path / "out" / "run.json"
            is_new = run.exists() and json.loads(run.read_text())["batch_id"] == "b2"
            assert not is_new, "run.json comes last"
    write_final_files(target, store, facts=FACTS)
    assert len(lines(tmp_path / "out" / "output.jsonl")) == 2
    assert not (tmp_path / "out" / "errors.jsonl").exists()


def _mortal(call: Any, calls: list[str], alive_for: int) -> Any:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if "/out/" in str(args[0]) and ".headrace/sort" not in str(args[0]):
            calls.append(str(args[0]))
            if len(calls) > alive_for:
                raise Killed
        return call(*args, **kwargs)

    return guarded


def test_a_folder_in_the_place_of_a_file_is_one_sentence(tmp_path: Path) -> None:
    target = open_target(tmp_path / "out")
    (tmp_path / "out" / "output.jsonl" / "x").mkdir(parents=True)
    with pytest.raises(StoreWriteError, match="cannot put the results into"):
        write_final_files(target, store_of(target, mixed_rows()), facts=FACTS)
