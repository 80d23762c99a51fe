import re

import pytest

from jobs.identity import line_id, new_batch_id, request_hash, request_id


def test_bytes_and_their_value_hash_alike() -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "h\\u00e9"}]}'
    value = {"messages": [{"content": "hé", "role": "user"}], "model": "m"}
    assert request_hash(body, "engine") == request_hash(value, "engine")
    assert re.fullmatch(r"[0-9a-f]{32}", request_hash(body, "engine"))


def _structured(*properties: str) -> dict[str, object]:
    schema = {"type": "object", "properties": {name: {"type": "integer"} for name in properties}}
    json_schema = {"name": "x", "schema": schema}
    return {"model": "m", "response_format": {"type": "json_schema", "json_schema": json_schema}}


def test_the_order_of_parameters_does_not_count_and_that_of_what_models_see_does() -> None:
    body = _structured("zeta", "alpha")
    assert request_hash(dict(reversed(body.items())), "e") == request_hash(body, "e")
    assert request_hash(_structured("alpha", "zeta"), "e") != request_hash(body, "e")
    function = {"name": "f", "description": "d"}
    tools = [{"type": "function", "function": function}]
    turned = [{"type": "function", "function": dict(reversed(function.items()))}]
    assert request_hash({"tools": tools}, "e") != request_hash({"tools": turned}, "e")


@pytest.mark.parametrize("body", [b"[1]", b'"text"', b'{"messages": [1, null]}', b"null"])
def test_a_body_of_any_shape_has_a_hash(body: bytes) -> None:
    assert len(request_hash(body, "e")) == 32


def test_body_and_engine_both_count() -> None:
    one = request_hash({"model": "m", "seed": 1}, "engine")
    assert one != request_hash({"model": "m", "seed": 2}, "engine")
    assert one != request_hash({"model": "m", "seed": 1}, "other engine")


def test_the_hash_never_changes_between_versions() -> None:
    assert request_hash({"model": "m"}, "e") == "0cadd511a0a75a8dd2c5a3986a9dba8f"


def test_bytes_that_are_not_json_are_refused() -> None:
    with pytest.raises(ValueError):
        request_hash(b"{", "engine")


def test_line_ids_are_unique_and_repeatable() -> None:
    ids = [make(batch, idx) for make in (line_id, request_id) for batch in "ab" for idx in range(9)]
    assert len(set(ids)) == len(ids)
    assert ids == [
        make(batch, idx) for make in (line_id, request_id) for batch in "ab" for idx in range(9)
    ]
    assert line_id("a", 1).startswith("batch_req_")
    assert request_id("a", 1).startswith("req_")


def test_batch_ids_cannot_be_guessed() -> None:
    assert len({new_batch_id() for _ in range(100)}) == 100
    assert re.fullmatch(r"batch_[0-9a-f]{32}", new_batch_id())
