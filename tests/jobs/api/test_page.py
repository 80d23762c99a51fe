"""The page without a browser: what it says, and who may use its forms."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from jobs.api.access import Access
from jobs.api.app import create_app
from jobs.api.page.rates import Rates
from jobs.api.page.rendering import fragments
from jobs.api.page.session import Session
from jobs.api.page.view import gather, show_count, show_seconds
from jobs.api_keys import ApiKeys
from jobs.queue_loads import QueueLoads
from tests.jobs.endpoint import Endpoint, line, lines

HERE = {"origin": "http://localhost:8000"}


@pytest.fixture
async def client(endpoint: Endpoint) -> AsyncIterator[httpx2.AsyncClient]:
    keys = ApiKeys(endpoint.redis, endpoint.keys)
    services = replace(
        endpoint.services,
        access=Access(keys=keys, is_local=True, allows_anonymous=True),
        loads=QueueLoads(endpoint.redis, endpoint.keys, endpoint.queue.settings),
    )
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(create_app(services), raise_app_exceptions=False),
        base_url="http://localhost:8000",
    ) as one:
        yield one


async def sign_in(client: httpx2.AsyncClient, endpoint: Endpoint, tenant: str = "acme") -> str:
    """Sign in; the token of the page's forms."""
    secret = await ApiKeys(endpoint.redis, endpoint.keys).create(tenant)
    reply = await client.post("/ui/sign-in", data={"key": secret}, headers=HERE)
    assert reply.status_code == 303
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    page = (await client.get("/")).text
    return page.partition("?token=")[2][:64]


async def test_the_page_shows_batches_workers_and_errors(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    await endpoint.serve("<script>alert(1)</script>")
    bad = line("bad", body={"temperature": 99})
    batch_id = await endpoint.order(await endpoint.upload(bad + b"\n" + lines(3)))
    await endpoint.redis.delete(endpoint.keys.known_models)
    await endpoint.settle()
    page = (await client.get("/")).text
    assert batch_id in page
    assert "in progress" in page
    assert "1 of 4, 1 failed" in page
    assert "decimal_above_max_value" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    done = await endpoint.finish(batch_id)
    page = (await client.get("/")).text
    for file_id in (done.output_file_id, done.error_file_id):
        assert f"/ui/files/{file_id}" in page
        assert (await client.get(f"/ui/files/{file_id}")).status_code == 200


async def test_the_page_loads_nothing_from_elsewhere(client: httpx2.AsyncClient) -> None:
    reply = await client.get("/")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http:" not in policy + reply.text
    for name in ("page.css", "page.js", "icon.svg"):
        found = await client.get(f"/ui/static/{name}")
        assert found.status_code == 200
        assert "http://" not in found.text.replace("http://www.w3.org/2000/svg", "")
    for name in ("session.py", "..%2Fapp.py", "index.html", "nothing"):
        assert (await client.get(f"/ui/static/{name}")).status_code == 404


async def test_a_file_is_uploaded_and_its_batch_cancelled(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    form = {"data": {"purpose": "batch"}, "files": {"file": ("mine.jsonl", lines(2))}}
    reply = await client.post("/ui/batches", headers=HERE, **form)  # type: ignore[arg-type]
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    (batch,) = (await client.get("/v1/batches")).json()["data"]
    assert batch["endpoint"] == "/v1/chat/completions"
    assert endpoint.kicked
    reply = await client.post(f"/ui/batches/{batch['id']}/cancel", headers=HERE)
    assert reply.status_code == 303
    assert (await endpoint.record(batch["id"])).status == "cancelling"


async def test_the_endpoint_of_a_batch_is_that_of_its_first_line(
    client: httpx2.AsyncClient,
) -> None:
    body = {"prompt": "x", "messages": None}
    data = line("r", url="/v1/completions", body=body)
    form = {"data": {"purpose": "batch"}, "files": {"file": ("f", b"\xef\xbb\xbf" + data)}}
    await client.post("/ui/batches", headers=HERE, **form)  # type: ignore[arg-type]
    (batch,) = (await client.get("/v1/batches")).json()["data"]
    assert batch["endpoint"] == "/v1/completions"


async def test_a_refusal_is_shown_on_the_page(client: httpx2.AsyncClient) -> None:
    reply = await client.post("/ui/batches/batch_none/cancel", headers=HERE)
    assert reply.status_code == 404
    assert 'role="alert"' in reply.text
    assert "No batch found" in reply.text


async def test_a_key_that_nobody_needs_is_not_kept(client: httpx2.AsyncClient) -> None:
    reply = await client.post("/ui/sign-in", data={"key": "日"}, headers=HERE)
    assert reply.status_code == 303
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("path", ["/ui/batches", "/ui/batches/b/cancel", "/ui/sign-in"])
@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}]
)
async def test_other_sites_cannot_send_forms(
    client: httpx2.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    assert (await client.post(path, headers=headers)).status_code == 403


async def test_with_keys_the_page_asks_for_one(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    token = await sign_in(client, endpoint)
    assert len(token) == 64
    assert (await client.post("/ui/batches/b/cancel", headers=HERE)).status_code == 403
    wrong = f"/ui/batches/b/cancel?token={'0' * 64}"
    assert (await client.post(wrong, headers=HERE)).status_code == 403
    right = f"/ui/batches/b/cancel?token={token}"
    assert (await client.post(right, headers=HERE)).status_code == 404
    assert (await client.get("/v1/files")).status_code == 401, "the cookie is for the page alone"
    reply = await client.post(f"/ui/sign-out?token={token}", headers=HERE)
    assert reply.status_code == 303
    client.cookies.clear()
    assert 'name="key"' in (await client.get("/")).text
    assert (await client.get("/ui/events")).status_code == 401
    reply = await client.post("/ui/sign-in", data={"key": "wrong"}, headers=HERE)
    assert reply.status_code == 401
    assert 'role="alert"' in reply.text


async def test_a_tenant_sees_its_own_batches_only(
    client: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(1)))
    assert batch_id in (await client.get("/")).text
    await sign_in(client, endpoint, "acme")
    page = (await client.get("/")).text
    assert batch_id not in page
    assert "No batches yet" in page


async def test_the_parts_change_only_where_something_did(endpoint: Endpoint) -> None:
    await endpoint.serve("demo")
    session, rates = Session("default", ""), Rates()
    before = fragments(await gather(endpoint.services, "default", rates), session)
    await endpoint.order(await endpoint.upload(lines(1)))
    after = fragments(await gather(endpoint.services, "default", rates), session)
    assert before["batches"] != after["batches"]
    assert before["overview"] != after["overview"]


def test_the_pace_is_what_was_seen_lately() -> None:
    rates = Rates()

    def pace(now_s: float, num_done: int) -> float:
        found = rates.pace("b", now_s=now_s, num_done=num_done, total=1000, started_s=0.0)
        return found.rows_per_s

    assert pace(100.0, 200) == pytest.approx(2.0)  # the average so far
    assert pace(110.0, 300) == pytest.approx(10.0)
    assert pace(200.0, 300) == pytest.approx(300 / 200)  # what was seen is too old
    stuck = rates.pace("c", now_s=1.0, num_done=0, total=10, started_s=None)
    assert (stuck.rows_per_s, stuck.left_s) == (0.0, None)


def test_numbers_and_durations_are_short() -> None:
    assert show_count(1234567) == "1\u202f234\u202f567"
    assert [show_seconds(s) for s in (0, 59.6, 3599, 3600, 90061, 172800)] == [
        "0 s", "1 min", "59 min 59 s", "1 h", "1 d 1 h", "2 d",
    ]  # fmt: skip
