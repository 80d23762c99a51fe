"""From an URL, or from nothing, to a client that may be trusted with jobs."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

import jobs.server
from jobs.embedded_server import EmbeddedServer
from jobs.errors import RedisConfigError, RedisUnavailableError, RedisUrlError
from jobs.keys import Keys
from jobs.queue import CommitReply
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.retrying import Retrying
from jobs.server import another_client, check_server, connect, open_redis
from jobs.server_address import ServerAddress
from tests.jobs.queue_lines import add_batch, commits, is_fake, job, take
from tests.jobs.test_embedded_server import is_alive, wait_for_end

RUN = """
import asyncio, sys
from pathlib import Path
from jobs.server import open_redis
async def main():
    async with open_redis(None, Path(sys.argv[1])) as client:
        await client.set("key", "value")
        print("up", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


def is_folder(path: str) -> bool:
    return Path(path).is_dir()


@pytest.fixture
def no_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.server, "find_server_binary", lambda: None)


async def test_a_named_server_is_used(redis_server: EmbeddedServer) -> None:
    async with open_redis(redis_server.url) as client:
        assert await client.set("key", b"\xff")
        assert await client.get("key") == b"\xff"


@pytest.mark.redis
async def test_an_embedded_server_keeps_its_data_in_the_state_folder(tmp_path: Path) -> None:
    async with open_redis(None, tmp_path) as client:
        await client.set("key", "value")
        address = ServerAddress.read(tmp_path)
        assert address is not None
    assert not is_alive(address.pid)
    async with open_redis(None, tmp_path) as client:
        assert await client.get("key") == b"value"


@pytest.mark.redis
async def test_without_a_state_folder_nothing_is_kept() -> None:
    async with open_redis(None) as client:
        await client.set("key", "value")
        folder = (await client.config_get("dir"))["dir"]
        assert is_folder(folder)
    assert not is_folder(folder)


@pytest.mark.redis
async def test_a_failing_body_does_not_leak_the_server(tmp_path: Path) -> None:
    pids: list[int] = []

    async def fail() -> None:
        async with open_redis(None, tmp_path):
            address = ServerAddress.read(tmp_path)
            assert address is not None
            pids.append(address.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not is_alive(pids[0])


@pytest.mark.redis
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_does_not_leak_the_server(tmp_path: Path, number: signal.Signals) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "up\n"
    address = ServerAddress.read(tmp_path)
    assert address is not None
    run.send_signal(number)
    assert run.wait(10) != 0
    run.stdout.close()
    assert not is_alive(address.pid)
    assert not Path(address.socket_path).parent.exists()


@pytest.mark.redis
async def test_a_server_that_is_killed_comes_back_with_its_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_redis(None, tmp_path) as client:
        queue = RedisQueue(client, Keys(), QueueSettings(), retrying=Retrying(give_up_s=20))
        await add_batch(queue, "b", [job(0), job(1)])
        leases = await take(queue, max_jobs=1)
        address = ServerAddress.read(tmp_path)
        assert address is not None
        os.kill(address.pid, signal.SIGKILL)
        assert (await queue.commit("worker-a", commits(leases))) == [CommitReply.OK]
        assert [lease.idx for lease in await take(queue)] == [1]
    assert caplog.text.count("waiting for it") == 1
    assert caplog.text.count("starting it again") == 1
    assert not is_folder(str(Path(address.socket_path).parent))


@pytest.mark.redis
async def test_an_end_while_the_server_comes_back_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[int] = []
    restart, is_restarting = EmbeddedServer.restart, threading.Event()

    def restart_slowly(server: EmbeddedServer) -> None:
        is_restarting.set()
        time.sleep(0.5)
        restart(server)
        launched.append(server.pid)

    monkeypatch.setattr(EmbeddedServer, "restart", restart_slowly)
    async with open_redis(None, tmp_path):
        address = ServerAddress.read(tmp_path)
        assert address is not None
        os.kill(address.pid, signal.SIGKILL)
        assert await asyncio.to_thread(is_restarting.wait, 10)
    (pid,) = launched
    assert not is_alive(pid)


@pytest.mark.redis
async def test_a_start_that_is_cancelled_leaves_no_server(tmp_path: Path) -> None:
    async def hold() -> None:
        async with open_redis(None, tmp_path):
            await asyncio.sleep(600)

    task = asyncio.create_task(hold())
    pid = 0
    while not pid:
        await asyncio.sleep(0)
        address = ServerAddress.read(tmp_path)
        pid = address.pid if address is not None else 0
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    wait_for_end(pid)


@pytest.mark.redis
async def test_a_signal_handler_of_the_program_is_left_alone(tmp_path: Path) -> None:
    def own(*_: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        async with open_redis(None, tmp_path):
            assert signal.getsignal(signal.SIGTERM) is own
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_without_any_server_the_queue_lives_in_the_process(
    no_binary: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_redis(None) as client:
        queue = RedisQueue(client, Keys(), QueueSettings())
        await add_batch(queue, "b", [job(0)])
        assert len(await take(queue)) == 1
    assert "lost with it" in caplog.text


async def test_a_second_client_sees_the_same_data_from_another_thread(redis: Redis) -> None:
    await redis.set("key", "first")
    seen: list[bytes] = []

    async def look() -> None:
        other = another_client(redis)
        seen.append(await other.get("key"))
        await other.set("key", "second")
        await other.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(look()))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert seen == [b"first"]
    assert await redis.get("key") == b"second"


async def test_a_server_that_may_evict_jobs_is_refused(redis: Redis) -> None:
    await check_server(redis)
    if is_fake(redis):
        pytest.skip("fakeredis has no eviction")
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(RedisConfigError, match=r"allkeys-lru.*noeviction"):
            await check_server(redis)
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")


async def test_a_server_that_is_too_old_is_refused(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def facts(client: Redis) -> dict[str, str]:
        return {"redis_version": "5.0.14"}

    monkeypatch.setattr(jobs.server, "_facts", facts)
    with pytest.raises(RedisConfigError, match=r"5\.0\.14 is too old"):
        await check_server(redis)


async def test_an_unreachable_server_is_named_in_one_sentence() -> None:
    started_s = time.monotonic()
    with pytest.raises(RedisUnavailableError, match=r"cannot reach Redis at 127\.0\.0\.1:1: "):
        async with open_redis("redis://:secret@127.0.0.1:1/0"):
            pytest.fail("it was opened")
    assert time.monotonic() - started_s < 5


async def test_a_wrong_password_is_said(redis: Redis) -> None:
    if is_fake(redis):
        pytest.skip("fakeredis has no passwords")
    await redis.config_set("requirepass", "right")
    port = redis.connection_pool.connection_kwargs["port"]
    try:
        for url in (f"redis://:wrong@127.0.0.1:{port}", f"redis://127.0.0.1:{port}"):
            with pytest.raises(RedisUnavailableError, match="refuses us") as caught:
                async with open_redis(url):
                    pytest.fail("it was opened")
            assert "wrong@" not in str(caught.value)
        async with open_redis(f"redis://:right@127.0.0.1:{port}"):
            pass
    finally:
        await redis.config_set("requirepass", "")


@pytest.mark.parametrize("url", ["localhost:6379", "http://x", "redis://h:port", ""])
async def test_what_is_no_redis_url_is_refused(url: str) -> None:
    with pytest.raises(RedisUnavailableError, match="no Redis URL"):
        async with open_redis(url):
            pytest.fail("it was opened")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://h?frob=1", "there is no option 'frob'"),
        ("redis://h?ssl_cert_reqs=none", "there is no option 'ssl_cert_reqs'"),
        ("redis://h?decode_responses=True", "cannot be set"),
        ("rediss://h?ssl_ca_certs=/nowhere/ca.crt", "there is no file /nowhere/ca.crt"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "CERT_NONE"),
    ],
)
def test_options_of_an_url_that_cannot_be_honoured_are_named(url: str, reason: str) -> None:
    with pytest.raises(RedisUrlError, match=f"no Redis URL: .*{reason}"):
        connect(url)


async def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "DNS:localhost")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, tmp_path / "key")
    server = await asyncio.start_server(answer_pings, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RedisConnectionError, match="certificate is not valid for"):
            await ping(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
        for url in (
            f"rediss://localhost:{port}?ssl_ca_certs={certificate}",
            f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}&ssl_check_hostname=false",
            f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none",
        ):
            await ping(url)


def make_certificate(folder: Path, names: str) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test -keyout key -out"
    subprocess.run(
        [*command.split(), "crt", "-addext", f"subjectAltName={names}"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "crt"


async def answer_pings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(b"+PONG\r\n" if b"PING" in data else b"+OK\r\n+OK\r\n")
        await writer.drain()
    writer.close()


async def ping(url: str) -> None:
    client = connect(url)
    try:
        assert await client.ping()
    finally:
        await client.aclose()


@pytest.mark.redis
def test_a_sentinel_is_no_place_for_jobs(tmp_path: Path) -> None:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = tmp_path / "sentinel.conf"
    settings.write_text(f"port {port}\nbind 127.0.0.1\n")
    sentinel = subprocess.Popen([binary, settings, "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        asyncio.run(refused_as_sentinel(f"redis://127.0.0.1:{port}"))
    finally:
        sentinel.kill()
        sentinel.wait()


async def refused_as_sentinel(url: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await ping(url)
                break
            except RedisConnectionError:
                await asyncio.sleep(0.02)
    with pytest.raises(RedisConfigError, match="is a Sentinel"):
        async with open_redis(url):
            pytest.fail("it was opened")


async def test_a_password_is_not_repeated_in_an_error() -> None:
    with pytest.raises(RedisUnavailableError) as caught:
        connect("http://user:secret@host")
    assert "secret" not in str(caught.value)


async def test_a_web_server_is_told_from_redis() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RedisUnavailableError, match=f"answers at 127.0.0.1:{port} is no Redis"):
            async with open_redis(f"redis://127.0.0.1:{port}"):
                pytest.fail("it was opened")


async def test_a_mute_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.server, "_CONNECT_S", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(RedisUnavailableError, match="no reply"),
    ):
        async with open_redis(f"redis://127.0.0.1:{mute.getsockname()[1]}"):
            pytest.fail("it was opened")
