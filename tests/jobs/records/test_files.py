import asyncio

import pytest
from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.records.files import FileRecords, NewFile, new_file_id
from jobs.records.page import PageRequest


def new(name: str, *, tenant: str = "a", purpose: str = "batch", **more: int) -> NewFile:
    return NewFile(
        file_id=name,
        tenant=tenant,
        blob=f"blob-{name}",
        num_bytes=3,
        filename="näme\n.jsonl",
        purpose=purpose,
        **more,
    )


@pytest.fixture
def files(redis: Redis, keys: Keys) -> FileRecords:
    return FileRecords(redis, keys)


async def test_a_file_comes_back_as_it_was_made(files: FileRecords) -> None:
    made = await files.create(new("f1", lifetime_s=3600))
    assert made.blob == "blob-f1"
    file = made.file
    assert (file.id, file.bytes, file.filename, file.purpose) == ("f1", 3, "näme\n.jsonl", "batch")
    assert file.expires_at == file.created_at + 3600
    assert await files.get("f1", "a") == made
    assert (await files.create(new("f2"))).file.expires_at is None


async def test_creating_twice_holds_the_blob_once(files: FileRecords) -> None:
    await files.create(new("f1"))
    await files.create(new("f1"))
    await files.delete("f1", "a")
    assert await files.garbage() == ["blob-f1"]


async def test_a_tenant_sees_its_own_files_only(files: FileRecords) -> None:
    await files.create(new("f1"))
    assert await files.get("f1", "b") is None
    assert not await files.delete("f1", "b")
    page = await files.page("b", PageRequest(limit=10))
    assert page is not None
    assert page.items == []
    assert await files.page("b", PageRequest(limit=10, after="f1")) is None


async def test_a_deleted_file_is_gone_and_its_bytes_with_the_last_holder(
    files: FileRecords,
) -> None:
    await files.create(new("f1"))
    assert await files.held_blobs() == {"blob-f1"}
    assert await files.delete("f1", "a")
    assert await files.get("f1", "a") is None
    assert not await files.delete("f1", "a")
    assert await files.garbage() == ["blob-f1"]
    await files.forget_garbage(["blob-f1"])
    assert await files.garbage() == []
    assert await files.held_blobs() == set()


@pytest.mark.parametrize("is_ascending", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_show_every_file_once(
    files: FileRecords, limit: int, is_ascending: bool
) -> None:
    names = [f"f{n}" for n in range(7)]
    for name in names:
        await files.create(new(name))
    seen: list[str] = []
    while True:
        after = seen[-1] if seen else None
        request = PageRequest(limit=limit, after=after, is_ascending=is_ascending)
        page = await files.page("a", request)
        assert page is not None
        seen += [record.file.id for record in page.items]
        assert page.has_more == (len(seen) < 7)
        if not page.has_more:
            break
    assert seen == (names if is_ascending else names[::-1])
    last = await files.page("a", PageRequest(limit=5, after=seen[-1], is_ascending=is_ascending))
    assert last is not None
    assert (last.items, last.has_more) == ([], False)


async def test_a_page_may_begin_after_a_deleted_file(files: FileRecords) -> None:
    for n in range(4):
        await files.create(new(f"f{n}"))
    await files.delete("f2", "a")
    page = await files.page("a", PageRequest(limit=10, after="f2"))
    assert page is not None
    assert [record.file.id for record in page.items] == ["f1", "f0"]


async def test_a_purpose_chooses(files: FileRecords) -> None:
    for n in range(6):
        await files.create(new(f"f{n}", purpose="batch" if n % 2 else "vision"))
    page = await files.page("a", PageRequest(limit=2), purpose="vision")
    assert page is not None
    assert [record.file.id for record in page.items] == ["f4", "f2"]
    assert page.has_more


async def test_an_unknown_place_to_begin(files: FileRecords) -> None:
    assert await files.page("a", PageRequest(limit=10, after="nope")) is None


async def test_files_expire(files: FileRecords, redis: Redis, keys: Keys) -> None:
    await files.create(new("f1", lifetime_s=3600))
    await files.create(new("f2", lifetime_s=3600))
    assert await files.delete_expired() == 0
    await redis.zadd(keys.file_expiry, {"f1": 1, "ghost": 1})
    assert await files.delete_expired() == 1
    assert await files.get("f1", "a") is None
    assert await files.get("f2", "a") is not None
    assert await redis.zscore(keys.file_expiry, "ghost") is None


async def test_files_made_at_once_have_an_order(files: FileRecords) -> None:
    await asyncio.gather(*(files.create(new(f"f{n}")) for n in range(20)))
    first = await files.page("a", PageRequest(limit=20))
    second = await files.page("a", PageRequest(limit=20))
    assert first == second
    assert first is not None
    assert len({record.file.id for record in first.items}) == 20


def test_ids_cannot_be_guessed() -> None:
    assert new_file_id() != new_file_id()
    assert len(new_file_id()) == len("file-") + 32
