"""What every answer has in common."""

import logging

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from jobs.errors import RedisUnavailableError
from jobs.request_ids import RequestIdFilter, request_id
from tests.jobs.endpoint import Endpoint


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/v1/nope", 404),
        ("GET", "/v1/files/", 404),
        ("PUT", "/v1/files", 405),
        ("DELETE", "/v1/batches", 405),
        ("PATCH", "/v1/models", 405),
        ("GET", "/v1/files?limit=x", 400),
        ("GET", "/v1/files/x", 404),
        ("OPTIONS", "/v1/files", 405),
    ],
)
async def test_every_refusal_is_an_envelope(
    endpoint: Endpoint, method: str, path: str, status: int
) -> None:
    reply = await endpoint.client.request(method, path)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert reply.headers["x-request-id"].startswith("req_")
    assert reply.headers["x-content-type-options"] == "nosniff"
    if status == 405:
        assert reply.headers["allow"]


async def test_every_answer_has_an_id_of_its_own(endpoint: Endpoint) -> None:
    ids = {
        (await endpoint.client.get(path)).headers["x-request-id"]
        for path in ("/health", "/v1/files", "/v1/nope", "/metrics")
    }
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (RuntimeError("a bug with a secret"), 500, ("x-should-retry", "false")),
        (RedisUnavailableError("redis://user:secret@host"), 503, ("retry-after", "1")),
        (RedisConnectionError("secret"), 503, ("retry-after", "1")),
        (OSError("secret"), 503, ("retry-after", "1")),
    ],
)
async def test_a_failure_of_ours(
    endpoint: Endpoint, error: Exception, status: int, header: tuple[str, str]
) -> None:
    async def fail(*_: object) -> None:
        raise error

    endpoint.services.files.get = fail  # type: ignore[method-assign]
    reply = await endpoint.client.get("/v1/files/x")
    assert reply.status_code == status
    assert reply.json()["error"]["type"] == "server_error"
    assert "secret" not in reply.text
    assert reply.headers[header[0]] == header[1]
    assert reply.headers["x-request-id"].startswith("req_")


async def test_requests_are_counted_by_route_and_never_by_id(endpoint: Endpoint) -> None:
    await endpoint.client.get("/v1/files/file-a")
    await endpoint.client.get("/v1/files/file-b")
    await endpoint.client.get("/v1/nope")
    text = (await endpoint.client.get("/metrics")).text
    counted = 'headrace:http_requests_total{method="GET",route="/v1/files/{file_id}",status="404"}'
    assert f"{counted} 2.0" in text
    assert "file-a" not in text
    assert "nope" not in text


async def test_a_log_line_names_the_route_and_no_content(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        reply = await endpoint.client.get(
            "/v1/files/file-a?secret=1", headers={"authorization": "Bearer secret"}
        )
    (record,) = [each for each in caplog.records if each.name == "headrace.http"]
    assert "GET /v1/files/{file_id} 404" in record.getMessage()
    assert reply.headers["x-request-id"] in record.getMessage()
    ours = [each for each in caplog.records if not each.name.startswith("httpx")]
    assert all("secret" not in each.getMessage() for each in ours)


def test_lines_written_meanwhile_carry_the_id() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "batch %s", ("b",), None)
    token = request_id.set("req_1")
    try:
        assert RequestIdFilter().filter(record)
        assert RequestIdFilter().filter(record)
    finally:
        request_id.reset(token)
    assert record.getMessage() == "batch b (req_1)"
    outside = logging.LogRecord("x", logging.INFO, "", 0, "batch %s", ("b",), None)
    RequestIdFilter().filter(outside)
    assert outside.getMessage() == "batch b"


async def test_health_and_readiness(endpoint: Endpoint) -> None:
    assert (await endpoint.client.get("/health")).text == "ok\n"
    assert (await endpoint.client.get("/ready")).text == "ok\n"
    for path in ("/health", "/ready"):
        assert (await endpoint.client.head(path)).status_code == 200

    async def is_not() -> str:
        return "Redis does not answer"

    object.__setattr__(endpoint.services, "is_ready", is_not)
    reply = await endpoint.client.get("/ready")
    assert (reply.status_code, reply.text) == (503, "Redis does not answer\n")
