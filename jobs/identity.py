"""What makes two jobs the same job, and the ids that follow from it.

Owns: the hash of a request under an engine, the ids of output lines (the same whenever the same
batch is written again), new batch ids. Must not know: Redis, files, how the engine's identity is
made.
"""

import secrets
from collections.abc import Mapping
from typing import Any

import xxhash

from schemas.json_text import compact_json, parse_json

__all__ = ["line_id", "new_batch_id", "request_hash", "request_id"]


def request_hash(body: bytes | Mapping[str, Any], engine_identity: str) -> str:
    """32 hex digits over the canonical body and `engine_identity` (model hash plus every setting
    that changes tokens). Two jobs with the same hash have the same answer.

    White space does not count, nor the order of parameters and of a message's fields. That of keys
    further inside does: models see tools in their order, and answers have a schema's properties in
    theirs. Raises ValueError if `body` is bytes that are not JSON.
    """
    value = parse_json(body) if isinstance(body, bytes) else body
    digest = xxhash.xxh3_128(compact_json(_ordered(value)))
    digest.update(b"\0")  # JSON text holds no NUL, so the two parts cannot run into each other
    digest.update(engine_identity.encode())
    return digest.hexdigest()


def _ordered(body: Any) -> Any:
    """The body with those keys sorted whose order means nothing."""
    if not isinstance(body, Mapping):
        return body
    ordered = {name: body[name] for name in sorted(body)}
    messages = ordered.get("messages")
    if isinstance(messages, list):
        ordered["messages"] = [
            {name: message[name] for name in sorted(message)}
            if isinstance(message, Mapping)
            else message
            for message in messages
        ]
    return ordered


def line_id(batch_id: str, idx: int) -> str:
    """The `id` of an output line: unique per line, equal on each writing."""
    return f"batch_req_{xxhash.xxh3_128_hexdigest(f'line:{batch_id}:{idx}'.encode())}"


def request_id(batch_id: str, idx: int) -> str:
    """The `response.request_id` of an output line: unique per line, equal on each writing."""
    return f"req_{xxhash.xxh3_128_hexdigest(f'request:{batch_id}:{idx}'.encode())}"


def new_batch_id() -> str:
    """An id that nobody can guess: `batch_` and 32 hex digits."""
    return f"batch_{secrets.token_hex(16)}"
