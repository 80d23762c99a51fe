import errno
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jobs.sinks.merge
from jobs.errors import StoreDamagedError, StoreWriteError
from jobs.result_table import RESULT_SCHEMA, line_indexes, table_to_rows
from jobs.sinks.merge import MergeSettings, rows_in_order
from jobs.store import PartStore
from schemas.result import ToolCallCell
from tests.jobs.builders import make_row


@settings(max_examples=30, deadline=None)
@given(
    indexes=st.lists(st.integers(0, 5000), unique=True, max_size=60),
    part_size=st.integers(1, 20),
    max_rows=st.integers(1, 40),
    max_bytes=st.sampled_from([1, 2_000, 1 << 20]),
    data=st.data(),
)
def test_all_rows_come_in_input_order_whatever_the_sizes(
    tmp_path_factory: pytest.TempPathFactory,
    indexes: list[int],
    part_size: int,
    max_rows: int,
    max_bytes: int,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    store = PartStore.open(folder / "parts", "batch_a")
    sizes = {idx: data.draw(st.sampled_from([1, 50, 3000])) for idx in indexes}
    for first in range(0, len(indexes), part_size):
        some = indexes[first : first + part_size]
        store.append([make_row(idx, content="x" * sizes[idx]) for idx in some])
    bounds = MergeSettings(max_rows=max_rows, max_bytes=max_bytes)
    tables = list(rows_in_order(store, folder / "sort", settings=bounds))
    assert [idx for table in tables for idx in line_indexes(table)] == sorted(indexes)
    assert all(table.num_rows <= max_rows for table in tables)
    assert all(table.num_rows == 1 or table.nbytes <= max_bytes for table in tables)
    for table in tables:
        assert table.schema.equals(RESULT_SCHEMA)
        for row in table_to_rows(table):
            assert row == make_row(row.idx, content="x" * sizes[row.idx])
    assert not (folder / "sort").exists()


def test_nested_cells_survive(tmp_path: Path) -> None:
    store = PartStore.open(tmp_path / "parts", "batch_a")
    rows = [
        make_row(
            idx,
            tool_calls=[ToolCallCell(id=f"{idx}-{k}", name="f", arguments="{}") for k in range(k)],
        )
        for idx, k in enumerate([0, 3, 1, 2] * 5)
    ]
    mixed = random.Random(1).sample(rows, len(rows))
    store.append(mixed[:7])
    store.append(mixed[7:])
    tables = rows_in_order(store, tmp_path / "sort", settings=MergeSettings(max_rows=3))
    assert [row for table in tables for row in table_to_rows(table)] == rows


def test_an_empty_store_yields_nothing(tmp_path: Path) -> None:
    store = PartStore.open(tmp_path / "parts", "batch_a")
    assert list(rows_in_order(store, tmp_path / "sort")) == []


def test_only_one_bucket_is_in_memory(tmp_path: Path) -> None:
    """Long rows that stand together are dealt out again, not loaded together."""
    store = PartStore.open(tmp_path / "parts", "batch_a")
    lengths = [10] * 300 + [20_000] * 100
    for first in range(0, 400, 50):
        part = range(first, first + 50)
        store.append([make_row(idx, content="x" * lengths[idx]) for idx in part])
    bounds = MergeSettings(max_rows=400, max_bytes=200_000)
    tables = list(rows_in_order(store, tmp_path / "sort", settings=bounds))
    assert max(table.nbytes for table in tables) <= 200_000
    assert sum(table.num_rows for table in tables) == 400


def test_a_broken_part_stops_the_merge_by_name(tmp_path: Path) -> None:
    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(0)])
    path = store.folder / store.parts[0].file
    path.write_bytes(b"")
    with pytest.raises(StoreDamagedError, match=path.name):
        list(rows_in_order(store, tmp_path / "sort"))
    assert not (tmp_path / "sort").exists()


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(idx) for idx in range(4)])
    monkeypatch.setattr(jobs.sinks.merge, "_append_piece", fail)
    with pytest.raises(StoreWriteError, match=r"cannot sort results in .*the disk is full"):
        list(rows_in_order(store, tmp_path / "sort", settings=MergeSettings(max_rows=2)))
    assert not (tmp_path / "sort").exists()
