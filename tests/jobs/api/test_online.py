"""What waiting clients are told when no answer comes of it, without workers and sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from jobs.api.access import Access
from jobs.api.app import create_app
from jobs.api_keys import ApiKeys, KeyLimits
from jobs.online.calls import OnlineCalls, OnlineSettings
from jobs.online.jobs import OnlineJobs
from jobs.online.listener import TokenListener
from jobs.online.messages import Accepted, Piece, Step
from jobs.queue import Commit, Lease, Outcome
from schemas.result import ResultRow
from tests.jobs.endpoint import CHAT, Endpoint

BODY = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def client(endpoint: Endpoint) -> AsyncIterator[httpx2.AsyncClient]:
    listener = TokenListener(endpoint.redis, endpoint.keys)
    listening = asyncio.create_task(listener.run())
    settings = OnlineSettings(start_timeout_s=1.0, request_timeout_s=3.0, look_every_s=0.2)
    jobs = OnlineJobs(endpoint.redis, endpoint.keys, endpoint.queue.settings)
    online = OnlineCalls(jobs, listener, endpoint.keys, settings)
    app = create_app(replace(endpoint.services, online=online))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app, raise_app_exceptions=False), base_url="http://endpoint"
    ) as one:
        yield one
    listening.cancel()
    await asyncio.wait([listening])


async def one_job(endpoint: Endpoint) -> Lease:
    async with asyncio.timeout(10):
        while not (leases := await endpoint.take(1)):
            await asyncio.sleep(0.01)
    return leases[0]


async def ask_and_end(
    client: httpx2.AsyncClient, endpoint: Endpoint, outcome: Outcome, payload: bytes = b""
) -> httpx2.Response:
    """A request whose job ends so."""
    await endpoint.serve("demo")
    asking = asyncio.create_task(client.post(CHAT, json=BODY | {"stream": True}))
    lease = await one_job(endpoint)
    row = payload.replace(b'"idx":0', b'"idx":%d' % lease.idx)
    await endpoint.queue.commit("worker-a", [Commit(lease=lease, outcome=outcome, payload=row)])
    return await asking


def error_of(reply: httpx2.Response) -> Any:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_without_a_worker_a_client_may_come_back(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    for _ in range(2):
        reply = await client.post(CHAT, json=BODY)
        assert reply.status_code == 503
        assert error_of(reply)["code"] == "no_worker"
        assert int(reply.headers["retry-after"]) > 0
        await endpoint.serve("demo")
        await endpoint.services.registry.deregister("worker-a")
    reply = await client.post(CHAT, json=BODY | {"model": "nobody"})
    assert reply.status_code == 404
    assert error_of(reply)["code"] == "model_not_found"


async def test_a_model_that_the_server_was_told_of_is_known(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    await endpoint.serve("demo")
    app = client._transport.app  # type: ignore[attr-defined]
    settings = replace(app.state.services.settings, served_models=("later",))
    app.state.services = replace(app.state.services, settings=settings)
    reply = await client.post(CHAT, json=BODY | {"model": "later"})
    assert reply.status_code == 503
    assert error_of(reply)["code"] == "no_worker"


async def test_unknown_parameters_are_refused_or_left_out(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    await endpoint.serve("demo")
    body = BODY | {"zzz": 1, "temperature": 0}
    reply = await client.post(CHAT, json=body)
    assert (reply.status_code, error_of(reply)["code"]) == (400, "unknown_parameter")
    app = client._transport.app  # type: ignore[attr-defined]
    settings = replace(app.state.services.settings, ignores_unknown=True)
    app.state.services = replace(app.state.services, settings=settings)
    asking = asyncio.create_task(client.post(CHAT, json=body))
    lease = await one_job(endpoint)
    assert json.loads(lease.body) == BODY | {"temperature": 0}
    await endpoint.queue.commit("worker-a", [Commit(lease=lease, outcome=Outcome.EXPIRED)])
    assert (await asking).status_code == 503


async def test_a_job_has_the_body_in_the_order_in_which_it_came(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    """Models see tools in that order, and answers have a schema's properties in it."""
    await endpoint.serve("demo")
    properties = {"zeta": {"type": "integer"}, "alpha": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["zeta", "alpha"]}
    function = {"name": "f", "description": "d", "parameters": schema}
    body = BODY | {
        "tools": [{"type": "function", "function": function}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }
    asking = asyncio.create_task(client.post(CHAT, json=body))
    lease = await one_job(endpoint)
    assert lease.body == json.dumps(body, separators=(",", ":")).encode()
    await endpoint.queue.commit("worker-a", [Commit(lease=lease, outcome=Outcome.EXPIRED)])
    await asking


async def test_a_body_that_is_compressed_or_announced_as_too_large_is_refused_unread(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    await endpoint.serve("demo")
    reply = await client.post(CHAT, content=b"x", headers={"content-encoding": "gzip"})
    assert reply.status_code == 415
    assert "Send the body uncompressed." in error_of(reply)["message"]

    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = {"content-length": str(2 << 20), "content-type": "application/json"}
    reply = await client.post(CHAT, content=unread(), headers=headers)
    assert (reply.status_code, error_of(reply)["code"]) == (413, "request_too_large")


async def test_a_request_that_no_worker_takes_ends_with_503(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    await endpoint.serve("demo")
    reply = await client.post(CHAT, json=BODY)
    assert reply.status_code == 503
    assert error_of(reply)["code"] == "overloaded"
    assert await endpoint.take() == [], "its job was cancelled"


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.CANCELLED, "batch_cancelled"), (Outcome.EXPIRED, "batch_expired")],
)
async def test_a_job_that_was_never_run_is_a_503(
    client: httpx2.AsyncClient, endpoint: Endpoint, outcome: Outcome, code: str
) -> None:
    reply = await ask_and_end(client, endpoint, outcome)
    assert reply.status_code == 503
    assert error_of(reply)["code"] == code


async def test_an_error_of_the_worker_is_the_answer(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    body = {"error": {"message": "m", "type": "server_error", "param": None, "code": "c"}}
    row = ResultRow(idx=0, status_code=500, error_code="c", response_json=json.dumps(body))
    reply = await ask_and_end(client, endpoint, Outcome.ERR, row.encode())
    assert reply.status_code == 500
    assert reply.json() == body
    assert reply.headers["x-should-retry"] == "false"
    assert reply.headers["content-type"] == "application/json"


async def test_an_error_after_the_first_chunk_is_an_event(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    await endpoint.serve("demo")
    asking = asyncio.create_task(client.post(CHAT, json=BODY | {"stream": True}))
    lease = await one_job(endpoint)
    head = Accepted(id="chatcmpl-1", created=1, model="demo", fingerprint="fp")
    step = Step(attempt=1, number=0, pieces=(Piece(index=0, content="begun"),))
    channel = endpoint.keys.tokens(lease.batch_id, lease.idx)
    for message in (head.encode(), step.encode()):
        await endpoint.redis.publish(channel, message)
    await endpoint.queue.commit("worker-a", [Commit(lease=lease, outcome=Outcome.CANCELLED)])
    reply = await asking
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    *_, said, failed, done, end = reply.text.split("\n\n")
    assert json.loads(said[6:])["choices"][0]["delta"] == {"content": "begun"}
    assert json.loads(failed[6:])["error"]["code"] == "batch_cancelled"
    assert (done, end) == ("data: [DONE]", "")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b'{"model":"demo"}', 400, "missing_required_parameter"),
        (json.dumps(BODY | {"tempature": 1}).encode(), 400, "unknown_parameter"),
        (json.dumps(BODY | {"stream_options": {}}).encode(), 400, None),
        (json.dumps(BODY | {"user": "x" * (1 << 20)}).encode(), 413, "request_too_large"),
    ],
)
async def test_a_bad_request_never_reaches_the_queue(
    client: httpx2.AsyncClient, endpoint: Endpoint, body: bytes, status: int, code: str | None
) -> None:
    reply = await client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == status
    assert error_of(reply)["code"] == code
    assert await endpoint.take() == []


async def test_waiting_clients_are_counted(client: httpx2.AsyncClient, endpoint: Endpoint) -> None:
    await endpoint.serve("demo")
    value = endpoint.services.metrics.registry.get_sample_value
    asking = asyncio.create_task(client.post(CHAT, json=BODY))
    lease = await one_job(endpoint)
    assert value("headrace:clients_waiting") == 1
    row = ResultRow(idx=lease.idx, status_code=200, response_json="{}").encode()
    await endpoint.queue.commit("worker-a", [Commit(lease=lease, outcome=Outcome.OK, payload=row)])
    assert (await asking).status_code == 200
    assert value("headrace:clients_waiting") == 0
    assert value("headrace:client_start_seconds_count") == 1
    reply = await client.post(CHAT, json=BODY)  # nobody takes it
    assert reply.status_code == 503
    assert value("headrace:clients_failed_total", {"cause": "not_started"}) == 1
    assert value("headrace:clients_waiting") == 0


async def bounded_key(
    client: httpx2.AsyncClient, endpoint: Endpoint, limits: KeyLimits
) -> dict[str, str]:
    """The header of a new key with limits, which the endpoint knows from now on."""
    keys = ApiKeys(endpoint.redis, endpoint.keys)
    access = Access(keys=keys, is_local=True, allows_anonymous=True)
    app = client._transport.app  # type: ignore[attr-defined]
    app.state.services = replace(app.state.services, access=access)
    return {"authorization": f"Bearer {await keys.create('acme', limits=limits)}"}


async def test_a_key_bounds_what_its_clients_have_waiting(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    await endpoint.serve("demo")
    headers = await bounded_key(client, endpoint, KeyLimits(max_requests=1))
    first = asyncio.create_task(client.post(CHAT, json=BODY, headers=headers))
    await one_job(endpoint)
    reply = await client.post(CHAT, json=BODY, headers=headers)
    assert reply.status_code == 429
    assert endpoint.services.metrics.registry.get_sample_value("headrace:clients_refused_total")
    first.cancel()
    await asyncio.wait([first])


async def test_a_key_bounds_the_size_of_a_request(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    await endpoint.serve("demo")
    limits = KeyLimits(max_request_bytes=len(json.dumps(BODY)))
    headers = await bounded_key(client, endpoint, limits)
    longer = {**BODY, "user": "somebody"}
    reply = await client.post(CHAT, json=longer, headers=headers)
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "request_too_large"
