"""How much of an answer a client has.

Owns: what may be sent next, so that all that was sent is always a beginning of the final answer.
Must not know: the wire. An answer may be computed more than once, if its worker dies: the second
time says the same again, so what the client has is skipped. Where messages are missing, nothing is
sent until the answer is there as a whole.
"""

from dataclasses import dataclass, field
from typing import Any

from jobs.online.messages import Piece, Step

__all__ = ["FinalChoice", "SentAnswer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalChoice:
    """A choice as its row has it."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(slots=True)
class _Choice:
    """What was sent of a choice, and what the running attempt has said of it so far."""

    sent: FinalChoice = field(default_factory=FinalChoice)
    said: FinalChoice = field(default_factory=FinalChoice)


class SentAnswer:
    """What one client has of one answer."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._attempt: int | None = None
        self._next_number = 0
        self._is_following = False

    def follow(self, step: Step) -> list[Piece]:
        """What to send for a message."""
        if step.attempt != self._attempt:
            self._begin_attempt(step.attempt)
        self._is_following = self._is_following and step.number == self._next_number
        self._next_number += 1
        if not self._is_following:
            return []
        pieces: list[Piece] = []
        for piece in step.pieces:
            choice = self._choices.setdefault(piece.index, _Choice())
            choice.said = _joined(choice.said, piece)
            new = _new_since(choice.sent, choice.said, piece.index)
            if new is None:
                self._is_following = False
                break
            if new:
                choice.sent = choice.said
                pieces.append(new)
        return pieces

    def rest(self, index: int, final: FinalChoice) -> Piece | None:
        """What is missing of a choice; None if the client was told something else."""
        choice = self._choices.setdefault(index, _Choice())
        rest = _new_since(choice.sent, final, index)
        if rest is not None:
            choice.sent = final
        return rest

    def _begin_attempt(self, attempt: int) -> None:
        self._attempt, self._next_number, self._is_following = attempt, 0, True
        for choice in self._choices.values():
            choice.said = FinalChoice()


def _joined(said: FinalChoice, piece: Piece) -> FinalChoice:
    return FinalChoice(
        content=said.content + piece.content,
        reasoning=said.reasoning + piece.reasoning,
        calls=said.calls + piece.calls,
        logprobs=said.logprobs + piece.logprobs,
    )


def _new_since(sent: FinalChoice, now: FinalChoice, index: int) -> Piece | None:
    """What `now` has beyond `sent`: nothing if it has less of anything; None if they differ."""
    for a, b in ((sent.content, now.content), (sent.reasoning, now.reasoning)):
        if not (a.startswith(b) or b.startswith(a)):
            return None
    if len(now.content) < len(sent.content) or len(now.reasoning) < len(sent.reasoning):
        return Piece(index=index)
    return Piece(
        index=index,
        content=now.content[len(sent.content) :],
        reasoning=now.reasoning[len(sent.reasoning) :],
        calls=now.calls[len(sent.calls) :],
        logprobs=now.logprobs[len(sent.logprobs) :],
        first_call=len(sent.calls),
    )
