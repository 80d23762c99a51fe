"""Small request bodies that several tests start from."""

from typing import Any

import pytest

from schemas.chat import parse_chat_request
from schemas.errors import ApiError

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USER = {"role": "user", "content": "hi"}


def chat(**changes: Any) -> dict[str, Any]:
    """A plain body with some keys added or replaced."""
    return {"model": "demo", "messages": [USER], **changes}


def talk(*messages: Any, **changes: Any) -> dict[str, Any]:
    """A body with these messages."""
    return {"model": "demo", "messages": list(messages), **changes}


def assert_refused(body: Any, code: str | None, param: str | None, words: list[str]) -> None:
    """The body is answered with 400, this code and param, and a short message that names the
    parameter and holds the words."""
    with pytest.raises(ApiError) as caught:
        parse_chat_request(body)
    error = caught.value
    assert (error.status_code, error.type) == (400, "invalid_request_error")
    assert (error.code, error.param) == (code, param)
    for text in words:
        assert text in error.message
    if param is not None and param != "function_call":  # OpenAI's param for a wrong tool_choice
        assert param.rpartition(".")[2] in error.message
    assert len(error.message) < 1_000
