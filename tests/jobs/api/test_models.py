import pytest

from jobs.registry import Registry, WorkerInfo
from tests.jobs.endpoint import Endpoint


async def test_without_workers_there_is_no_model(endpoint: Endpoint) -> None:
    reply = await endpoint.client.get("/v1/models")
    assert reply.json() == {"object": "list", "data": []}


async def test_what_live_workers_serve(endpoint: Endpoint) -> None:
    await endpoint.serve("b", "a")
    second = WorkerInfo(
        consumer="w2", models=("a",), max_model_len=32, started_at_ms=1_600_000_000_000
    )
    await Registry(endpoint.redis, endpoint.keys).register(second)
    listed = (await endpoint.client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == ["a", "b"]
    assert listed[0] == {
        "id": "a",
        "object": "model",
        "created": 1_600_000_000,
        "owned_by": "headrace",
        "root": "b",
        "parent": None,
        "max_model_len": 32,
    }
    assert listed[1]["root"] == "b"


@pytest.mark.parametrize("path", ["org/name", "org%2Fname"])
async def test_a_name_with_a_slash(endpoint: Endpoint, path: str) -> None:
    await endpoint.serve("org/name")
    assert (await endpoint.client.get(f"/v1/models/{path}")).json()["id"] == "org/name"


async def test_an_unknown_model(endpoint: Endpoint) -> None:
    await endpoint.serve("a")
    reply = await endpoint.client.get("/v1/models/nope")
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
