"""The OpenAPI document says what the endpoint does: whatever is sent to it, nothing ends in 5xx."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.jobs.conftest import fake_client
from tests.jobs.endpoint import CHAT, Endpoint, lines, make_endpoint

OURS = ("/v1/files", "/v1/batches", "/v1/models")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An endpoint on a real port, in a thread, with one file and one batch."""
    folder = tmp_path_factory.mktemp("endpoint")
    is_up = threading.Event()
    servers: list[uvicorn.Server] = []
    thread = threading.Thread(target=lambda: asyncio.run(_serve(folder, servers, is_up)))
    thread.start()
    assert is_up.wait(30)
    port = servers[0].servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    servers[0].should_exit = True
    thread.join()


async def _serve(folder: Path, servers: list[uvicorn.Server], is_up: threading.Event) -> None:
    redis = fake_client()
    endpoint = make_endpoint(redis, folder)
    await endpoint.order(await endpoint.upload(lines(1)))
    app = endpoint.client._transport.app
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    servers.append(server)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    is_up.set()
    await serving
    await endpoint.client.aclose()
    await redis.aclose()


@pytest.mark.slow
def test_nothing_that_is_sent_ends_in_a_server_error(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    checks = [
        not_a_server_error,
        status_code_conformance,
        response_schema_conformance,
        response_headers_conformance,
    ]
    num_operations = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if not operation.path.startswith(OURS):
            continue
        num_operations += 1
        case = operation.as_strategy()

        @settings(
            max_examples=15,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=case)
        def try_one(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=checks)

        try_one()
    assert num_operations == 11


async def test_the_document_names_every_route_and_its_answers(endpoint: Endpoint) -> None:
    document = (await endpoint.client.get("/openapi.json")).json()
    routes = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert {route for route in routes if route.partition(" ")[2].startswith(OURS)} == {
        "POST /v1/files",
        "GET /v1/files",
        "GET /v1/files/{file_id}",
        "GET /v1/files/{file_id}/content",
        "DELETE /v1/files/{file_id}",
        "POST /v1/batches",
        "GET /v1/batches",
        "GET /v1/batches/{batch_id}",
        "POST /v1/batches/{batch_id}/cancel",
        "GET /v1/models",
        "GET /v1/models/{model}",
    }
    for item in document["paths"].values():
        for operation in item.values():
            assert "422" not in operation["responses"]
            assert "400" in operation["responses"]
    body = document["paths"]["/v1/batches"]["post"]["requestBody"]["content"]["application/json"]
    assert CHAT in body["schema"]["properties"]["endpoint"]["enum"]
