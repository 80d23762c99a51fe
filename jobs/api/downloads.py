"""A blob on its way to a client.

Owns: streaming, one byte range (RFC 9110, section 14). Must not know: files' records. A piece at a
time is in memory, whatever the blob's size.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Response
from fastapi.responses import StreamingResponse

from jobs.api.errors import RefusalWithHeaders
from jobs.blobs import Blobs
from schemas.errors import ApiError

__all__ = ["ByteRange", "parse_range", "send_blob"]

_PIECE_BYTES = 1 << 18
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII | re.IGNORECASE)
_MAX_DIGITS = 18
_MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `[first, end)` of a blob."""

    first: int
    end: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """What a Range header asks for; None for the whole, as also for what is not understood.

    Raises ApiError (416) for a range that lies behind the end.
    """
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or max(map(len, match.groups())) > _MAX_DIGITS:
        return None
    first, last = match.groups()
    if first:
        end = min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
        if int(first) >= size:
            raise _out_of_range(size)
        return ByteRange(int(first), end)
    if not last:
        return None
    if int(last) == 0 or size == 0:
        raise _out_of_range(size)
    return ByteRange(max(size - int(last), 0), size)


async def send_blob(
    blobs: Blobs,
    key: str,
    *,
    size: int,
    range_header: str | None,
    headers: dict[str, str],
    is_head: bool,
    on_sent: Callable[[int], None],
) -> Response:
    """The answer that carries the blob, or the range of it; to a HEAD request, its headers alone.
    `on_sent` hears of each piece.

    Raises BlobError before the first byte, ApiError (416).
    """
    part = None if is_head else parse_range(range_header, size)
    wanted = part or ByteRange(0, size)
    known = {
        **headers,
        "accept-ranges": "bytes",
        "content-length": str(wanted.end - wanted.first),
    }
    if is_head:
        return Response(headers=known, media_type=_MEDIA_TYPE)
    file = await asyncio.to_thread(blobs.open, key)
    if part is not None:
        known["content-range"] = f"bytes {part.first}-{part.end - 1}/{size}"
    return StreamingResponse(
        _pieces(file, wanted, on_sent),
        status_code=200 if part is None else 206,
        headers=known,
        media_type=_MEDIA_TYPE,
    )


async def _pieces(
    file: BinaryIO, wanted: ByteRange, on_sent: Callable[[int], None]
) -> AsyncIterator[bytes]:
    try:
        if wanted.first:
            await asyncio.to_thread(file.seek, wanted.first)
        left = wanted.end - wanted.first
        while left > 0:
            piece = await asyncio.to_thread(file.read, min(left, _PIECE_BYTES))
            if not piece:
                raise OSError(f"a blob ended {left} bytes early")
            left -= len(piece)
            yield bytes(piece)
            on_sent(len(piece))
    finally:
        file.close()


def _out_of_range(size: int) -> RefusalWithHeaders:
    message = f"Invalid range: the file has {size} bytes."
    refusal = ApiError(416, message, param="Range", code="range_not_satisfiable")
    return RefusalWithHeaders(refusal, {"content-range": f"bytes */{size}"})
