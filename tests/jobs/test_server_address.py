import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis.exceptions import BusyLoadingError

from jobs.server_address import ServerAddress


def test_a_note_can_be_read_back(tmp_path: Path) -> None:
    address = ServerAddress("/x/headrace-1/s", 5, 77)
    address.write(tmp_path)
    assert ServerAddress.read(tmp_path) == address
    assert ServerAddress.read(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("note", ["", "{", "[]", '{"socket_path": 5}', "\x00", '"text"'])
def test_a_damaged_note_is_ignored(tmp_path: Path, note: str) -> None:
    (tmp_path / "server.json").write_text(note)
    assert ServerAddress.read(tmp_path) is None


def test_a_new_socket_folder_is_private_and_short() -> None:
    address = ServerAddress.new()
    folder = Path(address.socket_path).parent
    try:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(address.socket_path) <= 100
        assert address.url.startswith("unix://")
    finally:
        folder.rmdir()


def test_forgetting_removes_our_folder(tmp_path: Path) -> None:
    address = ServerAddress.new()
    Path(address.socket_path).touch()
    address.write(tmp_path)
    address.forget(tmp_path)
    address.forget(tmp_path)
    assert not Path(address.socket_path).parent.exists()
    assert ServerAddress.read(tmp_path) is None


@pytest.mark.parametrize(("name", "mode"), [("other", 0o700), ("headrace-x", 0o755)])
def test_forgetting_leaves_folders_that_are_not_ours(tmp_path: Path, name: str, mode: int) -> None:
    folder = tmp_path / name
    folder.mkdir()
    folder.chmod(mode)
    (folder / "file").touch()
    ServerAddress(str(folder / "s")).forget(tmp_path)
    assert (folder / "file").exists()


def test_forgetting_follows_no_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    link = tmp_path / "headrace-link"
    link.symlink_to(target)
    ServerAddress(str(link / "s")).forget(tmp_path)
    assert target.exists()
    assert link.is_symlink()


def test_a_process_with_that_number_need_not_be_the_server() -> None:
    own = ServerAddress("/x/headrace-1/s", 0, os.getpid())
    assert not own.is_running()
    assert not ServerAddress("/x/headrace-1/s").is_running()


def test_the_command_line_tells_whose_process_it_is() -> None:
    code = "import time; time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, "/x/headrace-1/s"])
    try:
        assert ServerAddress("/x/headrace-1/s", 0, process.pid).is_running()
        assert not ServerAddress("/x/headrace-2/s", 0, process.pid).is_running()
    finally:
        process.kill()
        process.wait()


def test_a_socket_without_server_is_not_waited_for(tmp_path: Path) -> None:
    assert not ServerAddress(str(tmp_path / "s"), 0, 1).wait_for_survivor()


def test_a_survivor_that_loads_its_data_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Exception | bool] = [BusyLoadingError(), BusyLoadingError(), True]

    def is_up(self: ServerAddress) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ServerAddress, "is_up", is_up)
    assert ServerAddress("/x/s", 0, 1).wait_for_survivor()
    assert answers == []
