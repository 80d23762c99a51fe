"""Work for a client that may go away.

Owns: noticing that, and ending the work. Must not know: what the work is.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive

__all__ = ["while_client_stays"]


async def while_client_stays(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, whose request has been read to its end. Raises ClientDisconnect if the client
    leaves first; the work is cancelled and has ended then.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_client_leaves(receive))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        working.result()
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.wait([working, leaving])


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
