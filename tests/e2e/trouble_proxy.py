"""A TCP proxy between a worker and its server, to make the network bad.

Owns: forwarding, and the ways in which it fails. Must not know: Redis.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["TroubleProxy", "proxied"]

_CHUNK = 1 << 16


class TroubleProxy:
    """Listens on a free port of the loopback device.

    `target_port` is where new connections lead; `delay_s` is added in each direction;
    `is_swallowing` keeps connections open and passes nothing on (half-open TCP).
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.delay_s = 0.0
        self.is_swallowing = False
        self.num_connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop_all()
        await asyncio.sleep(0.05)

    def drop_all(self) -> None:
        """Reset every connection that is open now."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        is_swallowed = [False]
        with contextlib.suppress(OSError):
            await asyncio.gather(
                self._pump(reader, far_writer, is_swallowed),
                self._pump(far_reader, writer, is_swallowed),
            )
        for each in pair:
            each.transport.abort()
        self._writers -= pair

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_swallowed: list[bool]
    ) -> None:
        """A connection that has swallowed once stays dead, as a half-open one does."""
        while data := await reader.read(_CHUNK):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            is_swallowed[0] = is_swallowed[0] or self.is_swallowing
            if not is_swallowed[0]:
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(target_port: int) -> AsyncIterator[TroubleProxy]:
    proxy = TroubleProxy(target_port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
