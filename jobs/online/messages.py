"""What a waiting client is told over the channel of its job.

Owns: the messages and their encoding. Must not know: Redis, HTTP, tokens. There are three: a worker
has ACCEPTED the job; a STEP of the engine brought more of the answer; the job is DONE and its row
is in the outbox (sent by scripts/_batch.lua, in the same step that makes the row visible).

Pub/sub promises nothing, so nothing rests on the first two: whoever misses a step (`attempt` or
`number` jumps) finds the whole answer in the row.
"""

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Accepted", "Done", "Message", "Piece", "Step", "decode_message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The job is about to run. `created` is in unix seconds; `id`, `model` and `fingerprint` are
    what the answer will carry.
    """

    id: str
    created: int
    model: str
    fingerprint: str

    def encode(self) -> bytes:
        about = [self.id, self.created, self.model, self.fingerprint]
        return b"a" + _dump(about)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What is new in choice `index`. `calls` are whole tool calls as an answer holds them, the
    first of them its `first_call`-th; `logprobs` are the entries of the tokens that the new text
    came with.
    """

    index: int
    content: str = ""
    reasoning: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()
    first_call: int = 0

    def __bool__(self) -> bool:
        return bool(self.content or self.reasoning or self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The `number`-th message of this kind of the job's `attempt`-th delivery, from 0."""

    attempt: int
    number: int
    pieces: tuple[Piece, ...]

    def encode(self) -> bytes:
        pieces = [
            [piece.index, piece.content, piece.reasoning, piece.calls, piece.logprobs]
            for piece in self.pieces
        ]
        return b"s" + _dump([self.attempt, self.number, pieces])


@dataclass(frozen=True, slots=True)
class Done:
    """The row is in the outbox under this entry id."""

    entry_id: str


Message: TypeAlias = Accepted | Step | Done


def decode_message(data: bytes) -> Message | None:
    """The message; None for one that only another version of this program understands."""
    kind, rest = data[:1], data[1:]
    if kind == b"d":
        return Done(rest.decode())
    if kind == b"a":
        answer_id, created, model, fingerprint = json.loads(rest)
        return Accepted(id=answer_id, created=created, model=model, fingerprint=fingerprint)
    if kind == b"s":
        attempt, number, pieces = json.loads(rest)
        return Step(attempt=attempt, number=number, pieces=tuple(map(_piece, pieces)))
    return None


def _piece(value: list[Any]) -> Piece:
    index, content, reasoning, calls, logprobs = value
    return Piece(
        index=index,
        content=content,
        reasoning=reasoning,
        calls=tuple(calls),
        logprobs=tuple(logprobs),
    )


def _dump(value: list[Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
