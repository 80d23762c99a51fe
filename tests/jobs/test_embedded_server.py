"""A server of our own: its life, and its owner's sudden death."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from jobs.embedded_server import EmbeddedServer, find_server_binary, packaged_server_binary
from jobs.errors import ServerStartError, StateFolderBusyError
from jobs.server_address import ServerAddress
from tests.jobs.conftest import REAL, binary_of

pytestmark = pytest.mark.redis

Start = Callable[[], EmbeddedServer]

OWNER = """
import sys, time
from pathlib import Path
from jobs.embedded_server import EmbeddedServer
server = EmbeddedServer.start(Path(sys.argv[1]), binary=Path(sys.argv[2]))
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(params=REAL)
def binary(request: pytest.FixtureRequest) -> Path:
    return binary_of(request.param)


@pytest.fixture
def start(tmp_path: Path, binary: Path) -> Iterator[Start]:
    """Starts the server of one state folder; whatever is up at the end is stopped."""
    servers: list[EmbeddedServer] = []

    def begin() -> EmbeddedServer:
        servers.append(EmbeddedServer.start(tmp_path / "state", binary=binary))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def client_of(server: EmbeddedServer) -> Redis:
    return Redis.from_url(server.url)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody collects does not."""
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(found.stdout.strip()) and not found.stdout.strip().startswith("Z")


def wait_for_end(pid: int) -> None:
    limit_s = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < limit_s, f"process {pid} goes on"
        time.sleep(0.01)


def start_owner(state_dir: Path, binary: Path) -> tuple[subprocess.Popen[str], int]:
    """Another process that owns a server; its process and the server's pid."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(state_dir), str(binary)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def kill_owner(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()
    assert owner.stdout is not None
    owner.stdout.close()


def test_data_survives_an_orderly_stop(start: Start) -> None:
    with start() as server:
        assert not server.had_data
        assert not server.was_adopted
        with client_of(server) as client:
            client.set("key", "value")
        pid = server.pid
    assert not is_alive(pid)
    with start() as server:
        assert server.had_data
        with client_of(server) as client:
            assert client.get("key") == b"value"


def test_only_this_user_can_reach_it(start: Start) -> None:
    with start() as server, client_of(server) as client:
        path = Path(client.connection_pool.connection_kwargs["path"])
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert client.config_get("port")["port"] == "0"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("appendonly")["appendonly"] == "yes"
    assert not path.parent.exists(), "its folder goes with it"


def test_a_long_state_path_or_temporary_path_is_no_obstacle(
    tmp_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_path = tmp_path / ("x" * 120) / ("y" * 120)
    long_path.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(long_path))
    with EmbeddedServer.start(long_path / "state", binary=binary) as server:
        assert len(server.url) < 110
        with client_of(server) as client:
            assert client.ping()


def test_a_server_whose_owner_was_killed_is_adopted(tmp_path: Path, binary: Path) -> None:
    state_dir = tmp_path / "state"
    owner, pid = start_owner(state_dir, binary)
    address = ServerAddress.read(state_dir)
    assert address is not None
    with address.connect() as client:
        client.set("key", "unsaved")
    kill_owner(owner)
    assert is_alive(pid)
    with EmbeddedServer.start(state_dir, binary=binary) as server:
        assert server.was_adopted
        assert server.pid == pid
        with client_of(server) as client:
            assert client.get("key") == b"unsaved"
    wait_for_end(pid)
    assert ServerAddress.read(state_dir) is None


def test_a_folder_has_one_owner(tmp_path: Path, binary: Path) -> None:
    owner, pid = start_owner(tmp_path, binary)
    try:
        with pytest.raises(StateFolderBusyError, match=f"pid {owner.pid}"):
            EmbeddedServer.start(tmp_path, binary=binary)
        assert is_alive(pid), "the owner's server is not touched"
    finally:
        kill_owner(owner)
        EmbeddedServer.start(tmp_path, binary=binary).close()
    wait_for_end(pid)


def test_after_both_died_a_new_server_has_the_data(tmp_path: Path, binary: Path) -> None:
    owner, pid = start_owner(tmp_path, binary)
    address = ServerAddress.read(tmp_path)
    assert address is not None
    with address.connect() as client:
        client.set("key", "value")
        client.execute_command("WAITAOF", 1, 0, 2000) if "valkey" in binary.name else time.sleep(
            1.2
        )
    kill_owner(owner)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    with EmbeddedServer.start(tmp_path, binary=binary) as server:
        assert not server.was_adopted
        with client_of(server) as client:
            assert client.get("key") == b"value"
    assert not Path(address.socket_path).parent.exists(), "the dead server's folder is removed"


def test_a_server_that_lost_its_socket_is_replaced_not_doubled(
    tmp_path: Path, binary: Path
) -> None:
    """Cleaners of temporary folders remove sockets; two servers on one file would ruin it."""
    owner, pid = start_owner(tmp_path, binary)
    address = ServerAddress.read(tmp_path)
    assert address is not None
    with address.connect() as client:
        client.set("key", "value")
    kill_owner(owner)
    Path(address.socket_path).unlink()
    with EmbeddedServer.start(tmp_path, binary=binary) as server:
        assert server.pid != pid
        assert not is_alive(pid)
        with client_of(server) as client:
            assert client.get("key") == b"value"


def test_a_note_that_names_a_foreign_process_harms_nobody(tmp_path: Path, binary: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    other = tmp_path / "not-ours"
    other.mkdir()
    (other / "file").touch()
    try:
        note = {"socket_path": str(other / "s"), "tcp_port": 0, "pid": bystander.pid}
        (tmp_path / "server.json").write_text(json.dumps(note))
        EmbeddedServer.start(tmp_path, binary=binary).close()
        assert bystander.poll() is None
        assert (other / "file").exists()
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_that_cannot_start_says_why(tmp_path: Path, binary: Path) -> None:
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    manifest = tmp_path / "redis" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("rubbish\n")
    before = set(Path(tempfile.gettempdir()).glob("headrace-*"))
    with pytest.raises(ServerStartError, match="ended with code"):
        EmbeddedServer.start(tmp_path, binary=binary)
    assert set(Path(tempfile.gettempdir()).glob("headrace-*")) <= before, "nothing is left"
    manifest.unlink()
    EmbeddedServer.start(tmp_path, binary=binary).close()


def test_a_missing_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match="no-such-server"):
        EmbeddedServer.start(tmp_path, binary=tmp_path / "no-such-server")


def test_closing_twice_is_closing_once(start: Start) -> None:
    server = start()
    server.close()
    server.close()


def test_the_file_is_rewritten_after_a_restart(start: Start) -> None:
    with start() as server, client_of(server) as client:
        client.set("key", "value")
        assert client.info("persistence")["aof_rewrites"] == 0
    with start() as server, client_of(server) as client:
        limit_s = time.monotonic() + 10
        while client.info("persistence")["aof_rewrites"] == 0:
            assert time.monotonic() < limit_s
            time.sleep(0.01)


def test_ctrl_c_does_not_reach_the_server(start: Start) -> None:
    with start() as server:
        assert os.getsid(server.pid) != os.getsid(0)


def test_a_server_on_the_path_comes_before_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_binary() == packaged_server_binary()
    mine = tmp_path / "valkey-server"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    assert find_server_binary() == mine
