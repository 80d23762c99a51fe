import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jobs.part_rows
import jobs.store
from jobs.errors import StoreDamagedError, StoreError, StoreWriteError
from jobs.result_table import table_to_rows
from jobs.store import PartStore
from schemas.result import ResultRow
from tests.jobs.builders import make_row, names_in

BATCH = "batch_a"


def rows_of(*indexes: int, content: str | None = None) -> list[ResultRow]:
    return [make_row(idx, **({"content": content} if content else {})) for idx in indexes]


def stored(store: PartStore) -> dict[int, ResultRow]:
    """All rows by idx; fails if a line has two."""
    found: dict[int, ResultRow] = {}
    for part in store.parts:
        for row in table_to_rows(store.read(part)):
            assert row.idx not in found, f"line {row.idx} has two rows"
            found[row.idx] = row
    assert sorted(found) == list(store.done)
    return found


def part_files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("part-*.parquet")}


class TestAppending:
    def test_what_was_appended_is_there_after_opening_again(self, tmp_path: Path) -> None:
        store = PartStore.open(tmp_path / "new" / "parts", BATCH)
        report = store.append(rows_of(5, 2))
        assert (report.num_rows, report.num_known) == (2, 0)
        assert report.num_bytes > 0
        store.append(rows_of(9))
        again = PartStore.open(tmp_path / "new" / "parts", BATCH)
        assert stored(again) == {idx: make_row(idx) for idx in (2, 5, 9)}
        assert 5 in again.done
        assert again.damage == ()

    def test_the_first_row_of_a_line_stays(self, tmp_path: Path) -> None:
        store = PartStore.open(tmp_path, BATCH)
        store.append(rows_of(1, 2, content="first"))
        twice = [*rows_of(3, content="first"), *rows_of(3, content="second")]
        report = store.append([*rows_of(2, content="second"), *twice])
        assert (report.num_rows, report.num_known) == (1, 2)
        assert {row.content for row in stored(store).values()} == {"first"}

    def test_nothing_new_writes_nothing(self, tmp_path: Path) -> None:
        store = PartStore.open(tmp_path, BATCH)
        store.append(rows_of(1))
        before = names_in(tmp_path)
        assert store.append(rows_of(1)).num_rows == 0
        assert store.append([]).num_rows == 0
        assert names_in(tmp_path) == before

    def test_a_number_that_does_not_fit_stores_nothing(self, tmp_path: Path) -> None:
        store = PartStore.open(tmp_path, BATCH)
        for bad in (make_row(1, attempt=99_999), make_row(-1), make_row(1 << 50)):
            with pytest.raises((ValueError, OverflowError)):
                store.append([make_row(0), bad])
        assert len(store.done) == 0
        assert part_files(tmp_path) == set()

    def test_a_folder_of_another_batch_is_refused(self, tmp_path: Path) -> None:
        PartStore.open(tmp_path, BATCH).append(rows_of(1))
        with pytest.raises(StoreError, match=BATCH):
            PartStore.open(tmp_path, "batch_b")

    def test_many_small_flushes_do_not_end_in_many_files(self, tmp_path: Path) -> None:
        store = PartStore.open(tmp_path, BATCH)
        for idx in range(150):
            store.append(rows_of(idx))
        assert len(store.parts) <= jobs.part_rows._MAX_SMALL_PARTS + 1
        assert len(part_files(tmp_path)) <= 2 * jobs.part_rows._MAX_SMALL_PARTS + 2
        assert stored(PartStore.open(tmp_path, BATCH)) == {i: make_row(i) for i in range(150)}


class TestSeveralWriters:
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        turns=st.lists(
            st.tuples(st.integers(0, 2), st.lists(st.integers(0, 12), min_size=1, max_size=4)),
            max_size=12,
        )
    )
    def test_each_line_ends_with_one_row(
        self, tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[int, list[int]]]
    ) -> None:
        folder = tmp_path_factory.mktemp("parts")
        writers = [PartStore.open(folder, BATCH) for _ in range(3)]
        first: dict[int, str] = {}
        for turn, (writer, indexes) in enumerate(turns):
            writers[writer].append(rows_of(*indexes, content=f"turn {turn}"))
            for idx in indexes:
                first.setdefault(idx, f"turn {turn}")
        result = stored(PartStore.open(folder, BATCH))
        assert {idx: row.content for idx, row in result.items()} == first

    def test_threads_that_race_lose_nothing(self, tmp_path: Path) -> None:
        reports: list[int] = []

        def work(seed: int) -> None:
            store = PartStore.open(tmp_path, BATCH)
            order = random.Random(seed)
            for _ in range(15):
                chosen = order.sample(range(60), 8)
                reports.append(store.append(rows_of(*chosen, content=f"writer {seed}")).num_rows)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reports) == 45
        assert len(stored(PartStore.open(tmp_path, BATCH))) == sum(reports)


def test_a_temporary_that_vanishes_while_the_folder_is_opened_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer's probe: listed, and gone before it is looked at."""
    (tmp_path / ".probe-1.tmp").touch()
    look = Path.lstat

    def vanish(path: Path) -> os.stat_result:
        path.unlink(missing_ok=True)
        return look(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "lstat", vanish)
        PartStore.open(tmp_path, BATCH)
    assert not (tmp_path / ".probe-1.tmp").exists()


class Killed(BaseException):
    """The process is dead: nothing after this has an effect."""


_CALLS = ("fsync", "rename", "replace", "link", "unlink", "truncate")


class Executioner:
    """Lets `alive_for` of the calls that change the disk happen, then kills: every later call
    fails and changes nothing, as if the process were gone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, alive_for: int) -> None:
        self.num_calls = 0
        self._alive_for = alive_for
        for name in _CALLS:
            monkeypatch.setattr(os, name, self._guard(getattr(os, name)))

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.num_calls += 1
            if self.num_calls > self._alive_for:
                raise Killed
            return call(*args, **kwargs)

        return guarded


def _append_until_killed(folder: Path, acknowledged: set[int]) -> None:
    store = PartStore.open(folder, BATCH)
    for first in range(0, 10, 2):
        store.append(rows_of(first, first + 1))
        acknowledged |= {first, first + 1}


class TestCrashes:
    def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs.part_rows, "_MAX_SMALL_PARTS", 3)
        for alive_for in range(200):
            folder = tmp_path / str(alive_for)
            acknowledged: set[int] = set()
            was_killed = False
            with monkeypatch.context() as patch:
                Executioner(patch, alive_for)
                try:
                    _append_until_killed(folder, acknowledged)
                except Killed:
                    was_killed = True
            _tear_temporaries(folder)
            store = PartStore.open(folder, BATCH)
            assert store.damage == ()
            assert acknowledged <= set(store.done)
            assert part_files(folder) >= {part.file for part in store.parts}
            store.append(rows_of(*range(10)))
            assert stored(store) == {idx: make_row(idx) for idx in range(10)}
            if not was_killed:
                break
        assert alive_for > 40, "the loop must have met every step"
        assert not was_killed

    def test_rows_of_an_unpublished_part_are_taken_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = PartStore.open(tmp_path, BATCH)
        store.append(rows_of(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", _raise(Killed()))
            with pytest.raises(Killed):
                store.append(rows_of(1, 2))
        again = PartStore.open(tmp_path, BATCH)
        assert set(stored(again)) == {0, 1, 2}
        assert part_files(tmp_path) == {part.file for part in again.parts}

    def test_sigkill_at_random_moments(self, tmp_path: Path) -> None:
        program = (
            "import sys\n"
            "from jobs.store import PartStore\n"
            "from tests.jobs.builders import make_row\n"
            "store = PartStore.open(__import__('pathlib').Path(sys.argv[1]), 'batch_a')\n"
            "for first in range(len(store.done), 100_000, 3):\n"
            "    store.append([make_row(idx) for idx in range(first, first + 3)])\n"
            "    print(first + 3, flush=True)\n"
        )
        order = random.Random(7)
        num_acknowledged = 0
        for _ in range(4):
            process = subprocess.Popen(
                [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            for _ in range(3):  # however slow the disk is
                process.stdout.readline()
            time.sleep(order.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.read().split()
            process.wait()
            process.stdout.close()
            num_acknowledged = max([num_acknowledged, *map(int, lines)])
            found = stored(PartStore.open(tmp_path, BATCH))
            assert set(range(num_acknowledged)) <= set(found)
            assert sorted(found) == list(range(len(found)))
        assert num_acknowledged > 20


def _tear_temporaries(folder: Path) -> None:
    """What was not flushed may be half there after a power cut. (A second name means that the
    file was linked, and that comes after flushing.)"""
    for path in folder.glob(".*.tmp") if folder.exists() else ():
        if path.stat().st_nlink == 1:
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])


def _raise(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        store = PartStore.open(tmp_path, BATCH)
        for idx in range(4):
            store.append(rows_of(idx))
        return tmp_path

    def test_deleted_manifests_lose_no_row(self, folder: Path) -> None:
        for path in folder.glob("manifest.*"):
            path.unlink()
        assert set(stored(PartStore.open(folder, BATCH))) == {0, 1, 2, 3}

    def test_a_deleted_newest_manifest_loses_no_row(self, folder: Path) -> None:
        max(folder.glob("manifest.*")).unlink()
        store = PartStore.open(folder, BATCH)
        store.append(rows_of(4))
        assert set(stored(PartStore.open(folder, BATCH))) == {0, 1, 2, 3, 4}

    def test_a_corrupt_newest_manifest_is_repaired_and_said(self, folder: Path) -> None:
        newest = max(folder.glob("manifest.*"))
        newest.write_text(newest.read_text()[:50])
        store = PartStore.open(folder, BATCH)
        assert set(stored(store)) == {0, 1, 2, 3}
        assert newest.name in store.damage[0]
        assert PartStore.open(folder, BATCH).damage == ()

    @pytest.mark.parametrize("harm", ["torn", "missing", "link"])
    def test_rows_of_a_broken_part_count_as_missing(self, folder: Path, harm: str) -> None:
        store = PartStore.open(folder, BATCH)
        path = folder / store.parts[1].file
        if harm == "torn":
            path.write_bytes(path.read_bytes()[:-50])
        elif harm == "missing":
            path.unlink()
        else:
            path.rename(folder / "elsewhere")
            path.symlink_to(folder / "elsewhere")
        again = PartStore.open(folder, BATCH)
        assert set(stored(again)) == {0, 2, 3}
        assert list(again.done.missing(4)) == [1]
        assert len(again.damage) == 1
        assert str(path) in again.damage[0]
        again.append(rows_of(1))
        healed = PartStore.open(folder, BATCH)
        assert healed.damage == ()
        assert set(stored(healed)) == {0, 1, 2, 3}

    def test_a_torn_part_that_no_manifest_names_is_set_aside(self, folder: Path) -> None:
        (folder / "part-00000099-torn.parquet").write_bytes(b"PAR1 torn")
        store = PartStore.open(folder, BATCH)
        assert "part-00000099-torn" in store.damage[0]
        assert (folder / "part-00000099-torn.damaged").exists()
        assert PartStore.open(folder, BATCH).damage == ()

    def test_reading_a_part_that_broke_meanwhile_names_it(self, folder: Path) -> None:
        store = PartStore.open(folder, BATCH)
        path = folder / store.parts[0].file
        path.write_bytes(b"")
        with pytest.raises(StoreDamagedError) as caught:
            store.read(store.parts[0])
        assert caught.value.path == path

    def test_manifests_deleted_under_a_living_writer_stop_it_before_it_loses_rows(
        self, folder: Path
    ) -> None:
        store, rival = PartStore.open(folder, BATCH), PartStore.open(folder, BATCH)
        rival.append(rows_of(7))
        newest = max(folder.glob("manifest.*"))
        for path in folder.glob("manifest.*"):
            path.unlink()
        newest.touch()
        with pytest.raises(StoreDamagedError, match="deleted or damaged"):
            store.append(rows_of(8))
        assert set(stored(PartStore.open(folder, BATCH))) >= {0, 1, 2, 3, 7}

    def test_left_over_temporaries_go_but_not_those_of_living_writers(self, folder: Path) -> None:
        old, new = folder / ".part-1.parquet.tmp", folder / ".part-2.parquet.tmp"
        old.write_bytes(b"x")
        new.write_bytes(b"x")
        os.utime(old, (1, 1))
        PartStore.open(folder, BATCH)
        assert (old.exists(), new.exists()) == (False, True)


class TestStorageFailures:
    @pytest.mark.parametrize("call", ["fsync", "rename", "link"])
    def test_a_full_disk_is_one_sentence_and_the_same_rows_can_be_appended_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        store = PartStore.open(tmp_path, BATCH)
        store.append(rows_of(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, call, _raise(OSError(errno.ENOSPC, "No space left on device")))
            with pytest.raises(StoreWriteError, match="the disk is full") as caught:
                store.append(rows_of(1))
        assert str(tmp_path) in str(caught.value)
        assert list(tmp_path.glob(".*.tmp")) == []
        assert store.append(rows_of(1)).num_rows == 1
        assert set(stored(PartStore.open(tmp_path, BATCH))) == {0, 1}

    def test_a_failure_after_the_publication_is_healed_by_repeating(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = PartStore.open(tmp_path, BATCH)
        sync_folder = jobs.store.sync_folder
        calls: list[Path] = []

        def fail_the_second_time(folder: Path) -> None:
            calls.append(folder)
            if len(calls) == 1:
                raise OSError(errno.EIO, "Input/output error")
            sync_folder(folder)

        monkeypatch.setattr("jobs.manifests.sync_folder", fail_the_second_time)
        with pytest.raises(StoreWriteError, match="input/output error"):
            store.append(rows_of(1))
        assert store.append(rows_of(1)).num_known == 1
        assert set(stored(store)) == {1}

    def test_a_place_that_cannot_be_written_is_found_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(StoreWriteError, match="not a folder"):
            PartStore.open(tmp_path / "file" / "parts", BATCH)

    def test_a_read_only_folder_is_found_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read_only = OSError(errno.EROFS, "Read-only file system")
        monkeypatch.setattr("jobs.manifests.write_new_file", _raise(read_only))
        with pytest.raises(StoreWriteError, match="the file system is read-only"):
            PartStore.open(tmp_path, BATCH)
