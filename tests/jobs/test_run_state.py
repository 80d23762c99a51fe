import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.errors import RunLockedError, RunStateError, StoreWriteError
from jobs.run_state import RunFolder, RunKind, RunStart, open_run_folder
from jobs.store import PartStore
from tests.jobs.builders import make_row, names_in


def begin(run: RunFolder, *, sha: str = "sha", engine: str = "engine") -> RunStart:
    return run.begin(input_path=Path("in.jsonl"), input_sha256=sha, engine_identity=engine)


def test_a_first_run_is_new_and_an_interrupted_one_goes_on(tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "state") as run:
        first = begin(run)
        assert first.kind is RunKind.NEW
        assert (first.is_input_changed, first.is_engine_changed) == (False, False)
        assert run.parts_folder.is_dir()
    with open_run_folder(tmp_path / "state") as run:
        second = begin(run)
    assert second.kind is RunKind.CONTINUED
    assert second.state == first.state


def test_a_complete_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    with open_run_folder(tmp_path) as run:
        begin(run)
        run.complete(num_retryable=0)
    with open_run_folder(tmp_path) as run:
        again = begin(run)
        assert again.kind is RunKind.COMPLETE
        assert again.state.is_complete
        assert run.parts_folder.is_dir(), "the final files can still be written again"


def test_rows_worth_another_try_begin_a_new_generation(tmp_path: Path) -> None:
    with open_run_folder(tmp_path) as run:
        first = begin(run)
        run.complete(num_retryable=2)
        again = begin(run)
    assert again.kind is RunKind.NEW
    assert again.state.batch_id != first.state.batch_id
    assert again.state.generation == 2
    assert not again.state.is_complete


@pytest.mark.parametrize(
    ("change", "flags"), [({"sha": "other"}, (True, False)), ({"engine": "other"}, (False, True))]
)
def test_what_changed_is_said(
    tmp_path: Path, change: dict[str, str], flags: tuple[bool, bool]
) -> None:
    with open_run_folder(tmp_path) as run:
        begin(run)
        again = begin(run, **change)
    assert again.kind is RunKind.NEW
    assert (again.is_input_changed, again.is_engine_changed) == flags


def test_earlier_generations_can_be_reused_until_a_later_one_is_complete(tmp_path: Path) -> None:
    with open_run_folder(tmp_path) as run:
        for sha in "abc":
            start = begin(run, sha=sha)
            PartStore.open(run.parts_folder, start.state.batch_id).append([make_row(0)])
        folders = [path.parent.name for path in run.earlier_parts()]
        assert folders == ["generation-0002", "generation-0001"]
        run.complete(num_retryable=0)
        assert run.earlier_parts() == []
        assert [path.name for path in tmp_path.glob("generation-*")] == ["generation-0003"]


def test_a_damaged_state_begins_anew_but_keeps_the_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_run_folder(tmp_path) as run:
        start = begin(run)
        PartStore.open(run.parts_folder, start.state.batch_id).append([make_row(0)])
    (tmp_path / "state.json").write_text('{"format": 1, "batch')
    with open_run_folder(tmp_path) as run:
        again = begin(run)
        assert again.kind is RunKind.NEW
        assert again.state.generation == 2
        assert len(run.earlier_parts()) == 1
    assert "state.json" in caplog.text


def test_a_state_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"format": 9}))
    with pytest.raises(RunStateError, match="--fresh"), open_run_folder(tmp_path):
        pass


def test_wiping_forgets_everything_but_holds_the_lock(tmp_path: Path) -> None:
    with open_run_folder(tmp_path) as run:
        begin(run)
        (tmp_path / "appendonly").mkdir()
        run.wipe()
        assert names_in(tmp_path) == ["lock"]
        assert begin(run).kind is RunKind.NEW
        _expect_locked(tmp_path)


def test_a_second_run_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with open_run_folder(tmp_path):
        _expect_locked(tmp_path)
    with open_run_folder(tmp_path):
        pass


def test_the_lock_goes_with_the_process_however_it_ends(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "from jobs.run_state import open_run_folder\n"
        "with open_run_folder(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(RunLockedError) as caught, open_run_folder(tmp_path):
            pass
        assert caught.value.pid == process.pid
        assert f"process {process.pid} " in str(caught.value)
        process.kill()
    with open_run_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreWriteError, match="not a folder"), open_run_folder(tmp_path / "file/x"):
        pass


def _expect_locked(folder: Path) -> None:
    with pytest.raises(RunLockedError) as caught, open_run_folder(folder):
        pass
    assert caught.value.pid == os.getpid()
