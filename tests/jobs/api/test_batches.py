from typing import Any

import pytest

from tests.jobs.endpoint import CHAT, Endpoint, lines

GOOD = {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h"}


async def test_a_new_batch_has_every_key(endpoint: Endpoint) -> None:
    reply = await endpoint.client.post("/v1/batches", json={**GOOD, "metadata": {"k": "v"}})
    assert reply.status_code == 200
    batch = reply.json()
    created = batch["created_at"]
    assert batch == {
        "id": batch["id"],
        "object": "batch",
        "endpoint": CHAT,
        "model": None,
        "errors": None,
        "input_file_id": "file-x",
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": created,
        "in_progress_at": None,
        "expires_at": created + 86_400,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": None,
        "metadata": {"k": "v"},
    }
    assert isinstance(created, int)
    assert batch["id"].startswith("batch_")
    assert (await endpoint.client.get(f"/v1/batches/{batch['id']}")).json() == batch


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"input_file_id": ...}, "input_file_id", "missing_required_parameter"),
        ({"endpoint": ...}, "endpoint", "missing_required_parameter"),
        ({"completion_window": ...}, "completion_window", "missing_required_parameter"),
        ({"input_file_id": 5}, "input_file_id", "invalid_type"),
        ({"input_file_id": ""}, "input_file_id", "empty_string"),
        ({"endpoint": "/v1/x"}, "endpoint", "invalid_value"),
        ({"endpoint": None}, "endpoint", "invalid_type"),
        ({"completion_window": "1h"}, "completion_window", "invalid_value"),
        ({"completion_window": ""}, "completion_window", "invalid_value"),
        ({"completion_window": 24}, "completion_window", "invalid_type"),
        ({"metadata": {"tags": ["a"]}}, "metadata.tags", "invalid_type"),
        ({"metadata": {"k": 1}}, "metadata.k", "invalid_type"),
        ({"metadata": "x"}, "metadata", "invalid_type"),
        ({"metadata": {f"k{n}": "v" for n in range(17)}}, "metadata",
         "object_above_max_properties"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length"),
        ({"metadata": {"k" * 65: "v"}}, "metadata", "property_name_above_max_length"),
        ({"zzz": 1}, "zzz", "unknown_parameter"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 10}},
         "output_expires_after.seconds", "integer_below_min_value"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 2592001}},
         "output_expires_after.seconds", "integer_above_max_value"),
        ({"output_expires_after": {"anchor": "x", "seconds": 3600}},
         "output_expires_after.anchor", "invalid_value"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": "3600"}},
         "output_expires_after.seconds", "invalid_type"),
    ],
)  # fmt: skip
async def test_a_creation_that_cannot_be(
    endpoint: Endpoint, change: dict[str, Any], param: str, code: str
) -> None:
    body = {key: value for key, value in (GOOD | change).items() if value is not ...}
    reply = await endpoint.client.post("/v1/batches", json=body)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert param.partition(".")[0] in error["message"]
    assert await endpoint.control.batches.open_ids() == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'"x"', b"null", b'{"a": NaN}', b'{"a": 1e999}', b"\xff", b"[" * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}", b'{"a": "\\ud800"}',
    ],
)  # fmt: skip
async def test_a_body_that_is_no_json_object(endpoint: Endpoint, body: bytes) -> None:
    reply = await endpoint.client.post(
        "/v1/batches", content=body, headers={"content-type": "application/json"}
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("We could not parse the JSON body")


async def test_a_body_of_another_kind_or_size(endpoint: Endpoint) -> None:
    reply = await endpoint.client.post(
        "/v1/batches", content=b"a=b", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert reply.status_code == 400
    reply = await endpoint.client.post(
        "/v1/batches", json={**GOOD, "metadata": {"k": "v" * (2 << 20)}}
    )
    assert reply.status_code == 413


async def test_a_repeated_creation(endpoint: Endpoint) -> None:
    key = {"idempotency-key": "one"}
    first = await endpoint.client.post("/v1/batches", json=GOOD, headers=key)
    again = await endpoint.client.post("/v1/batches", json=GOOD, headers=key)
    assert first.json()["id"] == again.json()["id"]
    assert endpoint.kicked == [first.json()["id"]]
    other = await endpoint.client.post(
        "/v1/batches", json={**GOOD, "metadata": {"k": "v"}}, headers=key
    )
    assert other.status_code == 400
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    for bad in ("", "x" * 256):
        reply = await endpoint.client.post(
            "/v1/batches", json=GOOD, headers={"idempotency-key": bad}
        )
        assert reply.status_code == 400


async def test_progress_is_the_queue_s(endpoint: Endpoint) -> None:
    from jobs.control.feed import feed

    batch_id = await endpoint.order(await endpoint.upload(lines(4)))
    await feed(endpoint.control, batch_id)
    await endpoint.answer(await endpoint.take(max_jobs=3))
    batch = await endpoint.batch(batch_id)
    assert batch.request_counts.model_dump() == {"total": 4, "completed": 3, "failed": 0}
    listed = (await endpoint.client.get("/v1/batches")).json()["data"]
    assert listed == [batch.model_dump()]


async def test_the_newest_comes_first(endpoint: Endpoint) -> None:
    ids = [await endpoint.order("file-x") for _ in range(4)]
    first = (await endpoint.client.get("/v1/batches?limit=3")).json()
    assert [batch["id"] for batch in first["data"]] == ids[:0:-1]
    assert (first["object"], first["has_more"], first["last_id"]) == ("list", True, ids[1])
    rest = (await endpoint.client.get(f"/v1/batches?after={ids[1]}")).json()
    assert [batch["id"] for batch in rest["data"]] == ids[:1]
    assert rest["has_more"] is False
    none = (await endpoint.client.get(f"/v1/batches?after={ids[0]}")).json()
    assert (none["data"], none["first_id"], none["has_more"]) == ([], None, False)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=abc", "after=batch_nope"])
async def test_a_list_that_cannot_be(endpoint: Endpoint, query: str) -> None:
    reply = await endpoint.client.get(f"/v1/batches?{query}")
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == query.partition("=")[0]


async def test_an_unknown_batch(endpoint: Endpoint) -> None:
    for method, path in (("GET", ""), ("POST", "/cancel")):
        reply = await endpoint.client.request(method, f"/v1/batches/batch_nope{path}")
        assert reply.status_code == 404
        assert "No batch found" in reply.json()["error"]["message"]


async def test_a_cancel_has_no_body(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order("file-x")
    for _ in range(2):
        reply = await endpoint.client.post(
            f"/v1/batches/{batch_id}/cancel",
            headers={"content-type": "application/json", "content-length": "0"},
        )
        assert reply.status_code == 200
        assert reply.json()["status"] == "cancelling"
    assert endpoint.kicked == [batch_id, batch_id]


@pytest.mark.parametrize("status", ["completed", "failed", "expired"])
async def test_what_has_ended_cannot_be_cancelled(endpoint: Endpoint, status: str) -> None:
    batch_id = await endpoint.order("file-x")
    await endpoint.redis.hset(endpoint.keys.record(batch_id), "status", status)
    reply = await endpoint.client.post(f"/v1/batches/{batch_id}/cancel")
    assert reply.status_code == 409
    assert reply.headers["x-should-retry"] == "false"
    assert reply.json() == {
        "error": {
            "message": f"Cannot cancel a batch with status '{status}'.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }


async def test_a_cancelled_batch_stays_cancelled(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order("file-x")
    await endpoint.redis.hset(endpoint.keys.record(batch_id), "status", "cancelled")
    reply = await endpoint.client.post(f"/v1/batches/{batch_id}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")
