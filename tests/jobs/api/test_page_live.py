"""The page's stream of changes, without a server."""

import asyncio
import json
from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.requests import ClientDisconnect

from jobs.api.page import live
from jobs.api.page.live import LiveParts


class Client:
    """Takes what is sent; leaves when told to."""

    def __init__(self) -> None:
        self.text = ""
        self.is_ended = False
        self.leaving = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.text += message.get("body", b"").decode()
        self.is_ended = message["type"] == "http.response.body" and not message["more_body"]

    @property
    def parts(self) -> list[dict[str, str]]:
        events = [event for event in self.text.split("\n\n") if event.startswith("event: parts")]
        return [json.loads(event.split("data: ", 1)[1]) for event in events]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_EVERY_S", 0.01)


async def test_only_what_changed_is_sent_until_the_key_is_revoked() -> None:
    seen: list[Mapping[str, str] | None] = [
        {"a": "1", "b": "1"}, {"a": "1", "b": "1"}, {"a": "2", "b": "1"}, None,
    ]  # fmt: skip

    async def look() -> Mapping[str, str] | None:
        return seen.pop(0)

    client = Client()
    await LiveParts(look, lambda: False)({"type": "http"}, client.receive, client.send)
    assert client.parts == [{"a": "1", "b": "1"}, {"a": "2"}]
    assert "event: signed-out" in client.text
    assert client.is_ended


async def test_it_outlives_a_store_that_is_away_and_ends_with_the_server() -> None:
    num_looks = 0

    async def look() -> Mapping[str, str] | None:
        nonlocal num_looks
        num_looks += 1
        if num_looks == 1:
            raise RedisConnectionError("away")
        return {"a": str(num_looks)}

    client = Client()
    answer = LiveParts(look, lambda: num_looks >= 3)
    await answer({"type": "http"}, client.receive, client.send)
    assert client.parts == [{"a": "2"}, {"a": "3"}]
    assert client.is_ended


async def test_it_ends_with_its_client() -> None:
    async def look() -> Mapping[str, str] | None:
        client.leaving.set()
        return {"a": "1"}

    client = Client()
    with pytest.raises(ClientDisconnect):
        await LiveParts(look, lambda: False)({"type": "http"}, client.receive, client.send)
