import pytest

from jobs.api.downloads import ByteRange, parse_range
from schemas.errors import ApiError
from tests.jobs.endpoint import Endpoint


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-3", ByteRange(0, 4)),
        ("bytes=4-", ByteRange(4, 10)),
        ("bytes=-3", ByteRange(7, 10)),
        ("bytes=-30", ByteRange(0, 10)),
        ("bytes=8-100", ByteRange(8, 10)),
        ("bytes = 0 - 0", ByteRange(0, 1)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=0-" + "9" * 100, None),
        ("nonsense", None),
    ],
)
def test_ranges(header: str | None, wanted: ByteRange | None) -> None:
    assert parse_range(header, 10) == wanted


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_behind_the_end(header: str, size: int) -> None:
    with pytest.raises(ApiError) as got:
        parse_range(header, size)
    assert got.value.status_code == 416


async def test_a_part_of_a_file(endpoint: Endpoint) -> None:
    file_id = await endpoint.upload(b"0123456789")
    path = f"/v1/files/{file_id}/content"
    reply = await endpoint.client.get(path, headers={"range": "bytes=2-4"})
    assert (reply.status_code, reply.content) == (206, b"234")
    assert reply.headers["content-range"] == "bytes 2-4/10"
    assert reply.headers["content-length"] == "3"
    reply = await endpoint.client.get(path, headers={"range": "bytes=99-"})
    assert reply.status_code == 416
    assert reply.json()["error"]["code"] == "range_not_satisfiable"
    assert reply.headers["content-range"] == "bytes */10"


async def test_headers_alone_for_those_who_ask_for_them(endpoint: Endpoint) -> None:
    file_id = await endpoint.upload(b"0123456789")
    path = f"/v1/files/{file_id}/content"
    whole = await endpoint.client.get(path)
    reply = await endpoint.client.head(path, headers={"range": "bytes=2-4"})
    assert (reply.status_code, reply.content) == (200, b"")
    for name in ("content-length", "content-type", "accept-ranges", "content-disposition"):
        assert reply.headers[name] == whole.headers[name]
    assert endpoint.services.metrics.downloaded_bytes._value.get() == 10
    assert (await endpoint.client.head("/v1/files/file-nobody/content")).status_code == 404


async def test_a_file_in_many_pieces(endpoint: Endpoint) -> None:
    data = bytes(range(256)) * 4096
    file_id = await endpoint.upload(data)
    async with endpoint.client.stream("GET", f"/v1/files/{file_id}/content") as reply:
        assert b"".join([piece async for piece in reply.aiter_bytes()]) == data
    sent = endpoint.services.metrics.downloaded_bytes
    assert sent._value.get() == len(data)


async def test_an_empty_file(endpoint: Endpoint) -> None:
    file_id = await endpoint.upload(b"")
    reply = await endpoint.client.get(f"/v1/files/{file_id}/content")
    assert (reply.status_code, reply.content) == (200, b"")
