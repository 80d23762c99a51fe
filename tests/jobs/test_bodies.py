import os
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobs.blobs import open_blobs
from jobs.bodies import INLINE_BYTES, LEFT_BEHIND_S, Bodies, is_reference, key_of
from jobs.errors import BlobError, BlobMissingError
from jobs.queue import CommitReply
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from tests.jobs.queue_lines import add_batch, commits, job, row, take

LARGE = b'{"x":"' + b"y" * INLINE_BYTES + b'"}'


@pytest.fixture
def bodies(tmp_path: Path) -> Bodies:
    return Bodies(open_blobs(str(tmp_path)))


def blobs_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("body-*"))


def tear(folder: Path) -> None:
    (path,) = folder.rglob("body-*")
    path.write_bytes(LARGE[:-1])


def make_old(folder: Path, *, but: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.name != but:
            os.utime(path, (1, 1))


async def test_a_large_body_lies_elsewhere(bodies: Bodies, tmp_path: Path) -> None:
    items = [job(0), row(1), job(2, body=LARGE), job(3, body=b"z" * INLINE_BYTES)]
    sent = await bodies.outside("b", items)
    assert [sent[k] for k in (0, 1, 3)] == [items[k] for k in (0, 1, 3)]
    large = sent[2]
    assert large == replace(items[2], body=large.body)  # type: ignore[union-attr]
    assert is_reference(large.body)  # type: ignore[union-attr]
    assert bodies.fetch(large.body) == LARGE  # type: ignore[union-attr]
    assert bodies.fetch(b"{}") == b"{}"
    assert blobs_in(tmp_path) == [key_of(large.body)]  # type: ignore[union-attr]
    assert await bodies.outside("b", items) == sent, "the same again"
    assert len(blobs_in(tmp_path)) == 1
    assert await Bodies(open_blobs(str(tmp_path))).outside("b", items) == sent
    assert (await bodies.outside("other", items))[2] != large


async def test_what_is_gone_or_torn_is_said(bodies: Bodies, tmp_path: Path) -> None:
    (sent,) = await bodies.outside("b", [job(0, body=LARGE)])
    tear(tmp_path)
    with pytest.raises(BlobError, match="bytes, not"):
        bodies.fetch(sent.body)  # type: ignore[union-attr]
    assert bodies.drop("b", ()) == 1
    assert blobs_in(tmp_path) == []
    with pytest.raises(BlobMissingError):
        bodies.fetch(sent.body)  # type: ignore[union-attr]


async def test_what_was_written_long_ago_is_written_again(
    bodies: Bodies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was emptied is told everything again, perhaps after a sweep."""
    now_s = 1_000_000.0
    monkeypatch.setattr("jobs.bodies.monotonic", lambda: now_s)
    items = [job(0, body=LARGE)]
    await bodies.outside("b", items)
    make_old(tmp_path, but="")
    await bodies.outside("b", items)
    assert bodies.sweep(["b"], ()) == 0
    (info,) = open_blobs(str(tmp_path)).walk()
    assert info.age_s > LEFT_BEHIND_S, "a full queue is sent the same chunk again and again"
    now_s += LEFT_BEHIND_S - 1
    assert bodies.sweep([], ()) == 1
    (sent,) = await bodies.outside("b", items)
    assert bodies.fetch(sent.body) == LARGE  # type: ignore[union-attr]


async def test_a_batch_that_is_in_its_files_needs_its_bodies_only_for_dead_letters(
    bodies: Bodies, tmp_path: Path
) -> None:
    sent = await bodies.outside("b", [job(0, body=LARGE), job(1, body=LARGE)])
    await bodies.outside("other", [job(0, body=LARGE)])
    kept = str(key_of(sent[1].body))  # type: ignore[union-attr]
    assert bodies.drop("b", {kept}) == 1
    assert kept in blobs_in(tmp_path)
    assert len(blobs_in(tmp_path)) == 2


async def test_what_nobody_needs_is_swept_up(bodies: Bodies, tmp_path: Path) -> None:
    keys = {}
    for batch_id in ("ended", "open", "lettered", "new"):
        (sent,) = await bodies.outside(batch_id, [job(0, body=LARGE)])
        keys[batch_id] = key_of(sent.body)  # type: ignore[union-attr]
    foreign = open_blobs(str(tmp_path)).create("0123456789ab")
    foreign.commit()
    make_old(tmp_path, but=str(keys["new"]))
    needed = {str(keys["lettered"])}
    assert bodies.sweep(["open"], needed) == 1
    assert sorted(map(str, (keys[name] for name in ("open", "lettered", "new")))) == blobs_in(
        tmp_path
    )
    with open_blobs(str(tmp_path)).open("0123456789ab") as kept:
        assert kept.read() == b""


async def test_the_queue_carries_references(
    redis: Redis, queue: RedisQueue, settings: QueueSettings, bodies: Bodies
) -> None:
    large = RedisQueue(redis, queue.keys, settings, bodies=bodies)
    await add_batch(large, "b", [job(0, body=LARGE), job(1)])
    status = await queue.status("b")
    assert status is not None
    leases = await take(large)
    assert [is_reference(lease.body) for lease in leases] == [True, False]
    assert bodies.fetch(leases[0].body) == LARGE
    assert await large.commit("worker-a", commits(leases)) == [CommitReply.OK, CommitReply.LAST]
    assert (await large.backlog())["demo"].num_jobs == 0
