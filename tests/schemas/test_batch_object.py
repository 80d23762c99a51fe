import pytest
from openai.types import Batch as ClientBatch

from schemas.batch import SUPPORTED_ENDPOINTS
from schemas.batch_object import (
    Batch,
    BatchErrors,
    BatchUsage,
    InputTokensDetails,
    LineError,
    OutputTokensDetails,
    RequestCounts,
    parse_create_batch,
)
from schemas.errors import ApiError

GOOD = {
    "input_file_id": "file-a",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
}


def test_the_client_s_type_takes_every_key() -> None:
    batch = Batch(
        id="batch_a",
        endpoint="/v1/chat/completions",
        input_file_id="file-a",
        completion_window="24h",
        status="failed",
        created_at=1,
        errors=BatchErrors(data=[LineError(code="c", message="m", line=2)]),
        request_counts=RequestCounts(total=1),
        usage=BatchUsage(
            input_tokens=1,
            input_tokens_details=InputTokensDetails(cached_tokens=0),
            output_tokens=2,
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
            total_tokens=3,
        ),
        metadata={"k": "v"},
    )
    whole = batch.model_dump()
    assert set(whole) == set(ClientBatch.model_fields)
    parsed = ClientBatch.model_validate(whole, strict=True)
    assert parsed.errors is not None
    assert parsed.errors.data is not None
    assert parsed.errors.data[0].line == 2
    for part, model in (("usage", parsed.usage), ("request_counts", parsed.request_counts)):
        assert model is not None
        assert model.model_extra in (None, {}), part


@pytest.mark.parametrize("endpoint", SUPPORTED_ENDPOINTS)
def test_every_endpoint_that_batch_lines_may_name(endpoint: str) -> None:
    request = parse_create_batch({**GOOD, "endpoint": endpoint, "metadata": None}, ["24h"])
    assert request.endpoint == endpoint
    assert request.metadata is None


def test_an_endpoint_that_is_not_served_is_told_the_served_ones() -> None:
    with pytest.raises(ApiError) as got:
        parse_create_batch({**GOOD, "endpoint": "/v1/x"}, ["24h"])
    assert got.value.message.startswith("Invalid value: '/v1/x'. Supported values are: '/v1/")


def test_windows_are_the_server_s() -> None:
    parse_create_batch({**GOOD, "completion_window": "1h"}, ["24h", "1h"])
    with pytest.raises(ApiError) as got:
        parse_create_batch({**GOOD, "completion_window": "2h"}, ["24h", "1h"])
    assert "'24h' and '1h'. Parameter: 'completion_window'" in got.value.message


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_a_body_that_is_no_object(body: object) -> None:
    with pytest.raises(ApiError) as got:
        parse_create_batch(body, ["24h"])
    assert got.value.status_code == 400
