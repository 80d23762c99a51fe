from collections.abc import AsyncIterator

import pytest

from jobs.blobs import BlobWriter
from tests.jobs.endpoint import Endpoint

KIND = {"content-type": "multipart/form-data; boundary=B"}
HEAD = (
    b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
)
TAIL = b"\r\n--B--\r\n"


class Watched:
    """A writer that notes how much it was given at a time."""

    def __init__(self, writer: BlobWriter, sizes: list[int]) -> None:
        self._writer = writer
        self._sizes = sizes
        self.commit, self.abort = writer.commit, writer.abort

    def write(self, data: bytes) -> None:
        self._sizes.append(len(data))
        self._writer.write(data)


async def test_a_large_file_is_never_in_memory_at_once(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    create = endpoint.services.blobs.create
    monkeypatch.setattr(endpoint.services.blobs, "create", lambda key: Watched(create(key), sizes))

    async def body() -> AsyncIterator[bytes]:
        yield HEAD
        for _ in range(24):
            yield b"x" * (1 << 19)
        yield TAIL

    reply = await endpoint.client.post("/v1/files", content=body(), headers=KIND)
    assert reply.json()["bytes"] == sum(sizes) == 12 << 20
    assert max(sizes) < 2 << 20


@pytest.mark.parametrize("step", [1, 3, 17])
async def test_pieces_may_be_cut_anywhere(endpoint: Endpoint, step: int) -> None:
    data = b"\r\n--A\r\n--\r\n-\r-B\n--B\r\r\n-" * 3
    whole = HEAD + data + TAIL

    async def body() -> AsyncIterator[bytes]:
        for at in range(0, len(whole), step):
            yield whole[at : at + step]

    reply = await endpoint.client.post("/v1/files", content=body(), headers=KIND)
    assert reply.status_code == 200, reply.text
    content = await endpoint.client.get(f"/v1/files/{reply.json()['id']}/content")
    assert content.content == data


async def test_a_client_that_hangs_up_leaves_nothing_behind(endpoint: Endpoint) -> None:
    messages = [
        {"type": "http.request", "body": HEAD + b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(_: object) -> None:
        raise AssertionError("nobody is there to answer")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/files",
        "raw_path": b"/v1/files",
        "query_string": b"",
        "headers": [(b"content-type", KIND["content-type"].encode())],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("endpoint", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    await endpoint.client._transport.app(scope, receive, send)
    assert list(endpoint.control.blobs.walk()) == []
    text = (await endpoint.client.get("/metrics")).text
    assert 'route="/v1/files",status="499"} 1.0' in text
