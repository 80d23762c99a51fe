"""What a worker hands back with a job it could not finish, and what the next one makes of it.

Owns: the encoding of tokens produced so far. Must not know: Redis, chat. Sampling noise depends on
(seed, choice, position) alone, so continuing from these tokens gives the text that would have come
without the interruption; anything that does not fit is ignored and the job starts again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.request import FinishReason, Request

__all__ = ["ChoiceProgress", "decode_progress", "encode_progress"]

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceProgress:
    """The output of one choice so far; `finish_reason` is set if it had ended."""

    output_token_ids: list[int]
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None


def encode_progress(identity: str, requests: Sequence[Request]) -> bytes:
    """The tokens of these requests; empty if there are none.

    `identity` says under which model and settings they were produced.
    """
    if not any(request.output_token_ids for request in requests):
        return b""
    choices = [
        {
            "tokens": request.output_token_ids,
            "finish": _own_end(request),
            "stop": request.stop_reason if _own_end(request) else None,
        }
        for request in requests
    ]
    message = {"version": _VERSION, "identity": identity, "choices": choices}
    return json.dumps(message, separators=(",", ":")).encode()


def decode_progress(
    progress: bytes, identity: str, *, num_choices: int
) -> list[ChoiceProgress] | None:
    """The inverse; None if there is nothing, or nothing that fits this worker and request."""
    if not progress:
        return None
    try:
        message = json.loads(progress)
        if message["version"] != _VERSION or message["identity"] != identity:
            return None
        choices = [_choice(choice) for choice in message["choices"]]
    except (KeyError, TypeError, ValueError):
        return None
    return choices if len(choices) == num_choices else None


def _own_end(request: Request) -> str | None:
    """How the request ended by itself; None if it was interrupted."""
    ends = (FinishReason.STOP, FinishReason.LENGTH)
    return request.finish_reason.value if request.finish_reason in ends else None


def _choice(choice: dict[str, Any]) -> ChoiceProgress:
    tokens = choice["tokens"]
    if not all(type(token) is int and token >= 0 for token in tokens):
        raise ValueError("tokens are not token ids")
    finish = choice["finish"]
    return ChoiceProgress(
        output_token_ids=list(tokens),
        finish_reason=FinishReason(finish) if finish is not None else None,
        stop_reason=choice["stop"],
    )
