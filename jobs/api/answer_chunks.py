"""The events of a streamed answer.

Owns: which chunks there are, and in which order. Must not know: where tokens come from, sockets.
Chat: a chunk with the role for each choice, text and calls as they come, a chunk with the finish
reason for each choice; text completions have no roles. Then the usage, if it was asked for.
"""

import json
from collections.abc import Iterator
from typing import Any, Protocol

from jobs.online.messages import Accepted, Piece, Step
from jobs.online.sent import FinalChoice, SentAnswer
from schemas.chat_chunk import (
    ChatCompletionChunk,
    ChunkChoice,
    Delta,
    DeltaFunction,
    DeltaToolCall,
)
from schemas.chat_response import ChoiceLogprobs, ResponseModel, Usage
from schemas.completion_chunk import CompletionChunk, CompletionChunkChoice
from schemas.completion_response import CompletionLogprobs
from schemas.completions import CompletionRequest
from schemas.errors import server_error
from schemas.requests import AnyRequest

__all__ = ["DONE", "AnswerChunks", "event"]

DONE = b"data: [DONE]\n\n"


def event(data: str) -> bytes:
    """One server-sent event."""
    return b"data: %b\n\n" % data.encode()


class _Form(Protocol):
    """How the chunks of one endpoint look."""

    def head(self, num_choices: int) -> list[Any]: ...
    def piece(self, piece: Piece) -> Any: ...
    def finish(self, choice: dict[str, Any], left: Piece) -> Any: ...
    def final(self, choice: dict[str, Any]) -> FinalChoice: ...
    def chunk(self, head: Accepted, choices: list[Any], usage: Usage | None) -> ResponseModel: ...


class AnswerChunks:
    """One answer's events, as bytes."""

    def __init__(self, request: AnyRequest) -> None:
        is_text = isinstance(request, CompletionRequest)
        self._form: _Form = _TextForm() if is_text else _ChatForm()
        self._num_choices = request.num_answers
        options = request.stream_options
        self._includes_usage = options is not None and bool(options.include_usage)
        self._sent = SentAnswer()
        self._head: Accepted | None = None

    def accept(self, head: Accepted) -> Iterator[bytes]:
        """The beginning. A job that is accepted once more goes on as it began."""
        if self._head is None:
            self._head = head
            for choice in self._form.head(self._num_choices):
                yield self._event(choice)

    def follow(self, step: Step) -> Iterator[bytes]:
        """What a step of the engine brought. Without a beginning, it waits for the end."""
        if self._head is not None:
            for piece in self._sent.follow(step):
                yield self._event(self._form.piece(piece))

    def end(self, response: dict[str, Any]) -> Iterator[bytes]:
        """What is missing of the whole answer."""
        head = Accepted(
            id=response["id"],
            created=response["created"],
            model=response["model"],
            fingerprint=response.get("system_fingerprint") or "",
        )
        yield from self.accept(head)
        for choice in response["choices"]:
            rest = self._sent.rest(choice["index"], self._form.final(choice))
            if rest is None:
                message = "The answer was computed again and came out differently; ask again."
                yield event(json.dumps(server_error(message).body()))
                yield DONE
                return
            if rest:
                yield self._event(self._form.piece(rest))
                rest = Piece(index=rest.index)
            yield self._event(self._form.finish(choice, rest))
        if self._includes_usage:
            yield self._event(usage=Usage.model_validate(response["usage"]))
        yield DONE

    def _event(self, *choices: Any, usage: Usage | None = None) -> bytes:
        assert self._head is not None
        return event(self._form.chunk(self._head, list(choices), usage).to_json())


class _ChatForm:
    def head(self, num_choices: int) -> list[Any]:
        delta = Delta(role="assistant", content="")
        return [ChunkChoice(index=index, delta=delta) for index in range(num_choices)]

    def piece(self, piece: Piece) -> Any:
        calls = [
            DeltaToolCall(
                index=position,
                id=call["id"],
                type="function",
                function=DeltaFunction(**call["function"]),
            )
            for position, call in enumerate(piece.calls, piece.first_call)
        ]
        delta = Delta(
            content=piece.content or None,
            reasoning=piece.reasoning or None,
            tool_calls=calls or None,
        )
        return ChunkChoice(index=piece.index, delta=delta, logprobs=_logprobs(piece))

    def finish(self, choice: dict[str, Any], left: Piece) -> Any:
        return ChunkChoice(
            index=choice["index"],
            delta=Delta(),
            logprobs=_logprobs(left),
            finish_reason=choice["finish_reason"],
            stop_reason=choice.get("stop_reason"),
        )

    def final(self, choice: dict[str, Any]) -> FinalChoice:
        message = choice["message"]
        logprobs = (choice.get("logprobs") or {}).get("content") or ()
        return FinalChoice(
            content=message.get("content") or "",
            reasoning=message.get("reasoning") or "",
            calls=tuple(message.get("tool_calls") or ()),
            logprobs=tuple(logprobs),
        )

    def chunk(self, head: Accepted, choices: list[Any], usage: Usage | None) -> ResponseModel:
        return ChatCompletionChunk(
            id=head.id,
            created=head.created,
            model=head.model,
            system_fingerprint=head.fingerprint or None,
            choices=choices,
            usage=usage,
        )


class _TextForm:
    """Log probabilities of a text come with the whole of it, since nothing is sent before."""

    def head(self, num_choices: int) -> list[Any]:
        return []

    def piece(self, piece: Piece) -> Any:
        return CompletionChunkChoice(
            index=piece.index, text=piece.content, logprobs=_text_logprobs(piece)
        )

    def finish(self, choice: dict[str, Any], left: Piece) -> Any:
        return CompletionChunkChoice(
            index=choice["index"],
            text="",
            logprobs=_text_logprobs(left),
            finish_reason=choice["finish_reason"],
            stop_reason=choice.get("stop_reason"),
        )

    def final(self, choice: dict[str, Any]) -> FinalChoice:
        logprobs = choice.get("logprobs")
        return FinalChoice(content=choice["text"], logprobs=(logprobs,) if logprobs else ())

    def chunk(self, head: Accepted, choices: list[Any], usage: Usage | None) -> ResponseModel:
        return CompletionChunk(
            id=head.id,
            created=head.created,
            model=head.model,
            system_fingerprint=head.fingerprint or None,
            choices=choices,
            usage=usage,
        )


def _logprobs(piece: Piece) -> ChoiceLogprobs | None:
    if not piece.logprobs:
        return None
    return ChoiceLogprobs.model_validate({"content": list(piece.logprobs)})


def _text_logprobs(piece: Piece) -> CompletionLogprobs | None:
    return CompletionLogprobs.model_validate(piece.logprobs[0]) if piece.logprobs else None
