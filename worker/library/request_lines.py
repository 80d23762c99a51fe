"""Requests of a Python program as lines of an OpenAI batch file.

Owns: what an item may be (a text, a body, a whole line), what is added to it, the temporary file.
Must not know: Arrow, engines, queues. The file is read by the same producer as any other: memory
stays flat, and what is wrong with one request is found by the same checks and becomes its row.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.producers.lines import InputFile, open_input
from schemas.requests import CHAT_URL, COMPLETIONS_URL
from worker.library.errors import HeadraceError

__all__ = ["RequestDefaults", "RequestItem", "WrittenLines", "line_of", "write_lines"]

RequestItem = str | Mapping[str, Any]
"""The text of a user's message, a request body as OpenAI has it, or a line of a batch file (an
object with `body`).
"""

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDefaults:
    """What a request gets that does not say otherwise: a model, a system message, and further
    fields of its body (`max_tokens`, `temperature`...).
    """

    model: str | None = None
    system: str | None = None
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WrittenLines:
    """A file of requests, which its user removes, and how many there are."""

    file: InputFile
    num_requests: int


def write_lines(items: Iterable[RequestItem], defaults: RequestDefaults) -> WrittenLines:
    """Write the requests to a temporary file.

    Raises HeadraceError for an item that JSON cannot hold.
    """
    idx = -1
    with tempfile.NamedTemporaryFile(
        "wb", prefix="headrace-", suffix=".jsonl", delete=False
    ) as file:
        path = Path(file.name)
        try:
            for idx, item in enumerate(items):
                file.write(_line_bytes(idx, item, defaults))
        except BaseException:
            path.unlink()
            raise
    return WrittenLines(open_input(path), idx + 1)


def line_of(idx: int, item: object, defaults: RequestDefaults) -> object:
    """The line of the `idx`-th item. An item of another kind is its own line, which is refused in
    the row of its own.
    """
    if isinstance(item, str):
        item = {"messages": [{"role": "user", "content": item}]}
    if not isinstance(item, Mapping):
        return item
    line: dict[str, Any] = dict(item) if "body" in item else {"body": item}
    line.setdefault("custom_id", str(idx))
    line.setdefault("method", "POST")
    if isinstance(line["body"], Mapping):
        line["body"] = body = _body(line["body"], defaults)
        is_text = "prompt" in body and "messages" not in body
        line.setdefault("url", COMPLETIONS_URL if is_text else CHAT_URL)
    return line


def _body(given: Mapping[str, Any], defaults: RequestDefaults) -> dict[str, Any]:
    body = {**defaults.fields, **given}
    if defaults.model is not None:
        body.setdefault("model", defaults.model)
    messages = body.get("messages")
    if defaults.system is not None and isinstance(messages, list):
        roles = [message.get("role") for message in messages[:1] if isinstance(message, dict)]
        if roles not in (["system"], ["developer"]):
            body["messages"] = [{"role": "system", "content": defaults.system}, *messages]
    return body


def _line_bytes(idx: int, item: RequestItem, defaults: RequestDefaults) -> bytes:
    try:
        return _dump(line_of(idx, item, defaults)).encode() + b"\n"
    except (TypeError, ValueError) as error:  # a lone surrogate is a ValueError too
        raise HeadraceError(f"request {idx} cannot be written as JSON: {error}") from error
