import asyncio

import pytest

from jobs.embedded_server import EmbeddedServer
from jobs.keys import Keys
from jobs.online import listener as module
from jobs.online.listener import TokenListener
from jobs.server import connect

pytestmark = pytest.mark.redis


async def test_channels_that_we_may_not_use_are_named_once(
    redis_server: EmbeddedServer,
    keys: Keys,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis 7 gives a new user no channels."""
    monkeypatch.setattr(module, "_SUBSCRIBE_S", 0.3)
    admin = connect(redis_server.url)
    await admin.execute_command("ACL", "SETUSER", "guest", "on", ">p", "~*", "+@all")
    client = connect(redis_server.url.replace("://", "://guest:p@"))
    listener = TokenListener(client, keys)
    running = asyncio.create_task(listener.run())
    for _ in range(2):
        with pytest.raises(TimeoutError, match="listen"):
            async with listener.listening(keys.tokens("b", 0)):
                pytest.fail("it listens")
    running.cancel()
    await asyncio.wait([running])
    await client.aclose()
    await admin.acl_deluser("guest")
    await admin.aclose()
    (record,) = caplog.records
    assert "needs the channels &test:{q}:t:*" in record.message
