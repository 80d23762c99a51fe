"""Keys, tenants and limits in front of the routes."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from jobs.api.access import Access, is_loopback
from jobs.api.app import create_app
from jobs.api.services import ApiSettings, BatchLimits
from jobs.api_keys import ApiKeys, KeyLimits, _key_of
from jobs.queue_loads import QueueLoads
from tests.jobs.endpoint import Endpoint, line


def client_of(endpoint: Endpoint, *, is_local: bool = True, **more: object) -> httpx2.AsyncClient:
    keys = ApiKeys(endpoint.redis, endpoint.keys)
    access = Access(keys=keys, is_local=is_local, allows_anonymous=is_local)
    services = replace(endpoint.services, access=access, **more)  # type: ignore[arg-type]
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(create_app(services), raise_app_exceptions=False),
        base_url="http://localhost:8000",
    )


@pytest.fixture
async def client(endpoint: Endpoint) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(endpoint) as one:
        yield one


async def a_key(endpoint: Endpoint, tenant: str) -> dict[str, str]:
    secret = await ApiKeys(endpoint.redis, endpoint.keys).create(tenant)
    return {"authorization": f"Bearer {secret}"}


async def test_without_keys_everybody_here_is_one_tenant(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v1/files")).status_code == 200
    assert (await client.get("/v1/files", headers={"authorization": "Bearer x"})).status_code == 200


async def test_with_a_key_nobody_gets_in_without(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    key = await a_key(endpoint, "acme")
    for headers in ({}, {"authorization": "Bearer nope"}, {"authorization": "Basic eDp4"}):
        for path in ("/v1/files", "/v1/batches", "/v1/models", "/v1/batches/b"):
            reply = await client.get(path, headers=headers)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
            assert reply.json()["error"]["code"] == "invalid_api_key"
    assert (await client.get("/v1/files", headers=key)).status_code == 200
    assert (await client.get("/health")).status_code == 200


async def test_a_refusal_shows_no_secret(client: httpx2.AsyncClient, endpoint: Endpoint) -> None:
    secret = (await a_key(endpoint, "acme"))["authorization"].split()[1]
    wrong = secret[:-4] + "zzzz"
    reply = await client.get("/v1/files", headers={"authorization": f"Bearer {wrong}"})
    assert reply.status_code == 401
    assert wrong[15:] not in reply.text


async def test_tenants_see_their_own(client: httpx2.AsyncClient, endpoint: Endpoint) -> None:
    one, other = await a_key(endpoint, "one"), await a_key(endpoint, "other")
    form = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", line("r"))}}
    file_id = (await client.post("/v1/files", headers=one, **form)).json()["id"]  # type: ignore[arg-type]
    order = {
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    batch_id = (await client.post("/v1/batches", headers=one, json=order)).json()["id"]
    for method, path in (
        ("GET", f"/v1/files/{file_id}"),
        ("GET", f"/v1/files/{file_id}/content"),
        ("DELETE", f"/v1/files/{file_id}"),
        ("GET", f"/v1/batches/{batch_id}"),
        ("POST", f"/v1/batches/{batch_id}/cancel"),
    ):
        assert (await client.request(method, path, headers=other)).status_code == 404
    assert (await client.get("/v1/files", headers=other)).json()["data"] == []
    assert (await client.get("/v1/batches", headers=other)).json()["data"] == []
    assert (await client.get(f"/v1/files?after={file_id}", headers=other)).status_code == 400
    assert (await client.get(f"/v1/batches/{batch_id}", headers=one)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"host": "evil.example"}, 403),
        ({"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}, 200),
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "LOCALHOST:8000"}, 200),
        ({"host": "localhost:"}, 200),
        ({"host": ""}, 403),
        ({"host": " "}, 403),
        ({"host": "a{b.evil.example:8000"}, 403),
        ({"host": "a|b.evil.example"}, 403),
        ({"host": "localhost@evil.example"}, 403),
        ({"host": "localhost/evil.example"}, 403),
        ({"host": "[::1].evil.example"}, 403),
        ({"host": "127.0.0.1:8000:1"}, 403),
    ],
)
async def test_other_sites_cannot_use_an_open_endpoint(
    client: httpx2.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await client.get("/v1/files", headers=headers)).status_code == status


async def test_a_key_works_from_anywhere(client: httpx2.AsyncClient, endpoint: Endpoint) -> None:
    key = await a_key(endpoint, "acme")
    headers = {**key, "host": "api.example", "origin": "http://app.example"}
    assert (await client.get("/v1/files", headers=headers)).status_code == 200


async def test_an_endpoint_for_others_that_lost_its_keys_stays_closed(endpoint: Endpoint) -> None:
    async with client_of(endpoint, is_local=False) as client:
        assert (await client.get("/v1/files")).status_code == 401


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (BatchLimits(max_batches=1), "1 unfinished batches"),
        (BatchLimits(max_requests=3), "3 queued requests"),
        (BatchLimits(max_tokens=10), "queued tokens"),
    ],
)
async def test_a_tenant_with_too_many_batches_hears_429(
    endpoint: Endpoint, limits: BatchLimits, word: str
) -> None:
    settings = ApiSettings(batch_limits=limits)
    loads = QueueLoads(endpoint.redis, endpoint.keys, endpoint.queue.settings)
    await endpoint.serve("demo")
    first = await endpoint.order(await endpoint.upload(b"\n".join(line(f"r{n}") for n in range(3))))
    await endpoint.settle()
    order = {
        "input_file_id": "file-x",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    async with client_of(endpoint, settings=settings, loads=loads) as client:
        reply = await client.post("/v1/batches", json=order)
        assert reply.status_code == 429
        assert reply.json()["error"]["type"] == "rate_limit_error"
        assert word in reply.json()["error"]["message"]
        assert int(reply.headers["retry-after"]) > 0
        reply = await client.post("/v1/batches", json={**order, "endpoint": "/v1/nothing"})
        assert reply.status_code == 400, "a body that cannot be is that first"
        await endpoint.finish(first)
        key = {"idempotency-key": "k"}
        made = await client.post("/v1/batches", json=order, headers=key)
        assert made.status_code == 200
        if limits.max_batches:
            again = await client.post("/v1/batches", json=order, headers=key)
            assert again.json()["id"] == made.json()["id"], "a call made again orders nothing"


def test_loopback_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.evil", "", "1::1")))


async def test_a_key_may_have_limits_of_its_own(endpoint: Endpoint) -> None:
    """They count what the whole tenant has, and may lie above those of the endpoint."""
    settings = ApiSettings(batch_limits=BatchLimits(max_batches=2))
    loads = QueueLoads(endpoint.redis, endpoint.keys, endpoint.queue.settings)
    keys = ApiKeys(endpoint.redis, endpoint.keys)

    async def key(tenant: str, **limits: int) -> dict[str, str]:
        secret = await keys.create(tenant, limits=KeyLimits(**limits))
        return {"authorization": f"Bearer {secret}"}

    order = {
        "input_file_id": "file-x",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    few = await key("acme", max_batches=1)
    many = await key("acme", max_batches=0)
    other = await key("other")
    async with client_of(endpoint, settings=settings, loads=loads) as client:

        async def status(headers: dict[str, str]) -> int:
            return (await client.post("/v1/batches", json=order, headers=headers)).status_code

        assert [await status(few) for _ in range(2)] == [200, 429]
        assert [await status(many) for _ in range(3)] == [200, 200, 200]
        assert await status(few) == 429
        assert [await status(other) for _ in range(3)] == [200, 200, 429]


def test_limits_that_only_a_newer_version_knows_are_ignored() -> None:
    note = {"tenant": "a", "label": "", "created_at": 1, "limits": {"max_batches": 3, "new": 1}}
    assert _key_of("k", note).limits == KeyLimits(max_batches=3)
    assert _key_of("k", {"tenant": "a", "label": "", "created_at": 1}).limits == KeyLimits()
