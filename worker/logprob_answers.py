"""Log probabilities as an answer shows them.

Owns: which ones a request wants, and their three forms: chat's, the legacy one of text completions,
vLLM's for prompts. Must not know: how they were computed, rows.
"""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.logprobs import LogprobRows
from engine.request import Request
from engine.tokenizer import Tokenizer
from schemas.chat import ChatCompletionRequest
from schemas.chat_response import (
    ChoiceLogprobs,
    PromptLogprob,
    PromptLogprobs,
    TokenLogprob,
    TopLogprob,
)
from schemas.completion_response import CompletionLogprobs
from schemas.completions import CompletionRequest
from worker.request_maker import WantedLogprobs

__all__ = [
    "TokenNames",
    "chat_logprobs",
    "completion_logprobs",
    "prompt_logprobs",
    "text_offsets",
    "token_logprobs",
    "wanted_of_chat",
    "wanted_of_completion",
]


@dataclass(frozen=True, slots=True)
class TokenNames:
    """How tokens are written. `as_ids`: "token_id:5", so that no two look alike."""

    tokenizer: Tokenizer
    as_ids: bool = False

    def text(self, token_id: int) -> str:
        """As chat completions write it."""
        return f"token_id:{token_id}" if self.as_ids else self.tokenizer.texts.text_of(token_id)

    def key(self, token_id: int) -> str:
        """As text completions write it: a part of a character is marked as bytes."""
        text = self.text(token_id)
        if self.as_ids or text.encode() == self.tokenizer.texts.bytes_of(token_id):
            return text
        return f"bytes:{text}"

    def bytes(self, token_id: int) -> list[int]:
        return list(self.tokenizer.texts.bytes_of(token_id))


def wanted_of_chat(chat: ChatCompletionRequest) -> WantedLogprobs | None:
    """What a chat request wants; None for nothing."""
    if not chat.logprobs and chat.prompt_logprobs is None:
        return None
    return WantedLogprobs(
        num_top=max(chat.top_logprobs or 0, chat.prompt_logprobs or 0),
        of_output=bool(chat.logprobs),
        prompt_from=1 if chat.prompt_logprobs is not None else None,
    )


def wanted_of_completion(completion: CompletionRequest) -> WantedLogprobs | None:
    """What a text completion wants; None for nothing."""
    if completion.logprobs is None and completion.prompt_logprobs is None:
        return None
    start = completion.logprob_start_len or 1
    return WantedLogprobs(
        num_top=max(completion.logprobs or 0, completion.prompt_logprobs or 0),
        of_output=completion.logprobs is not None,
        prompt_from=start if completion.wants_prompt_logprobs else None,
    )


def chat_logprobs(request: Request, num_top: int, names: TokenNames) -> ChoiceLogprobs:
    """One entry for each generated token, the one that ended the answer among them."""
    rows = _output_rows(request)
    return ChoiceLogprobs(content=token_logprobs(request.output_token_ids, rows, num_top, names))


def token_logprobs(
    token_ids: Sequence[int], rows: LogprobRows, num_top: int, names: TokenNames
) -> list[TokenLogprob]:
    """One entry for each token, which `rows` are about."""
    return [
        TokenLogprob(
            token=names.text(token_id),
            logprob=logprob,
            bytes=names.bytes(token_id),
            top_logprobs=[
                TopLogprob(token=names.text(top_id), logprob=value, bytes=names.bytes(top_id))
                for top_id, value in top
            ],
        )
        for token_id, logprob, top in _entries(token_ids, rows, num_top)
    ]


def completion_logprobs(
    prompt: tuple[str, Request] | None,
    output: tuple[str, Request],
    num_top: int,
    names: TokenNames,
) -> CompletionLogprobs:
    """The legacy form for the text and the request of a choice; with `echo` also for those of its
    prompt, which come first. Tokens of the prompt that were not scored have null.
    """
    text, request = output
    tokens: list[int] = []
    logprobs: list[float | None] = []
    tops: list[dict[str, float] | None] = []
    offsets: list[int] = []
    shift = 0
    if prompt is not None:
        prompt_text, scored = prompt
        tokens += scored.prompt_token_ids
        rows = _prompt_rows(scored)
        first = rows.first_token if rows is not None else scored.num_prompt_tokens
        logprobs += [None] * first
        tops += [None] * first
        offsets += text_offsets(prompt_text, scored.prompt_token_ids, names.tokenizer)
        shift = len(prompt_text)
        if rows is not None:
            for token_id, logprob, top in _entries(tokens[first:], rows, num_top):
                logprobs.append(logprob)
                tops.append(_by_text(token_id, logprob, top, names))
    tokens += request.output_token_ids
    for token_id, logprob, top in _entries(
        request.output_token_ids, _output_rows(request), num_top
    ):
        logprobs.append(logprob)
        tops.append(_by_text(token_id, logprob, top, names))
    own = text_offsets(text, request.output_token_ids, names.tokenizer)
    offsets += [shift + offset for offset in own]
    return CompletionLogprobs(
        tokens=[names.key(token_id) for token_id in tokens],
        token_logprobs=logprobs,
        top_logprobs=tops,
        text_offset=offsets,
    )


def prompt_logprobs(
    request: Request, num_top: int | None, names: TokenNames
) -> PromptLogprobs | None:
    """The form of vLLM: for each token of the prompt, it and the likeliest ones by id. None if they
    were not asked for.
    """
    if num_top is None:
        return None
    rows = _prompt_rows(request)
    if rows is None:
        return [None] * request.num_prompt_tokens
    entries: PromptLogprobs = [None] * rows.first_token
    token_ids = list(request.prompt_token_ids[rows.first_token :])
    ranks = rows.ranks.tolist()
    for (token_id, logprob, top), rank in zip(
        _entries(token_ids, rows, num_top), ranks, strict=True
    ):
        shown = {top_id: (value, place + 1) for place, (top_id, value) in enumerate(top)}
        shown[token_id] = (logprob, rank)
        entries.append(
            {
                shown_id: PromptLogprob(
                    logprob=value, rank=place, decoded_token=names.text(shown_id)
                )
                for shown_id, (value, place) in shown.items()
            }
        )
    return entries


def text_offsets(text: str, token_ids: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """Where in `text` each of its tokens begins, in characters. A token that is not shown (special
    ones, or what was cut off the end) takes up nothing.
    """
    offsets = []
    offset = 0
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    for index, token_id in enumerate(token_ids):
        data = tokenizer.texts.bytes_of(token_id)
        if data and not _goes_on(data):
            offset += len(decode(b"", final=True))  # a character that was never completed
        offsets.append(min(offset, len(text)))
        if token_id in tokenizer.special_token_ids and not text.startswith(data.decode(), offset):
            continue
        if index == 0 and data.startswith(b" ") and not text.startswith(" "):
            data = data[1:]  # decoders drop the space before the first word
        offset += len(decode(data))
    return offsets


def _goes_on(data: bytes) -> bool:
    """Whether the bytes begin inside a character."""
    return 0x80 <= data[0] < 0xC0


def _entries(
    token_ids: Sequence[int], rows: LogprobRows, num_top: int
) -> Iterator[tuple[int, float, list[tuple[int, float]]]]:
    """Token, log probability and the likeliest tokens of each row, in plain numbers."""
    top_ids = rows.top_token_ids[:, :num_top].tolist()
    top_values = rows.top_logprobs[:, :num_top].tolist()
    for place, (token_id, logprob) in enumerate(
        zip(token_ids, rows.logprobs.tolist(), strict=True)
    ):
        yield token_id, logprob, list(zip(top_ids[place], top_values[place], strict=True))


def _by_text(
    token_id: int, logprob: float, top: Sequence[tuple[int, float]], names: TokenNames
) -> dict[str, float]:
    """The likeliest tokens and the one that stands there; of two that look alike the likelier."""
    shown: dict[str, float] = {}
    for shown_id, value in [*top, (token_id, logprob)]:
        shown.setdefault(names.key(shown_id), value)
    return shown


def _output_rows(request: Request) -> LogprobRows:
    assert request.logprobs is not None
    return request.logprobs.rows().part(request.num_prompt_tokens, request.num_tokens)


def _prompt_rows(request: Request) -> LogprobRows | None:
    """The rows of the prompt; None if the request scored none of it."""
    if request.logprobs is None or request.logprobs.first_token >= request.num_prompt_tokens:
        return None
    return request.logprobs.rows().part(0, request.num_prompt_tokens)
