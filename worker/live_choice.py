"""The text of one choice while it is computed.

Owns: what of an unfinished output may be shown. Must not know: messages, channels. Nothing that is
shown is ever taken back: half a character, the beginning of a stop string and what may become a
tool call are held until it is clear what they are. The end of a choice does not come from here but
from its recorded row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.logprobs import LogprobRows
from engine.parsers.output import GUARD, OutputReader
from engine.parsers.streaming import AnswerStream
from engine.parsers.token_stream import TokenStream
from engine.request import Request
from engine.tokenizer import Tokenizer
from jobs.online.messages import Piece
from schemas.chat import ChatCompletionRequest
from schemas.completions import CompletionRequest
from worker.completion_answers import leading_space
from worker.logprob_answers import TokenNames, token_logprobs
from worker.message import MessageReader, callable_functions, form_of

__all__ = ["LiveChoice", "live_chat_choice", "live_completion_choice"]


@dataclass(slots=True, kw_only=True)
class LiveChoice:
    """One choice. `stops` are held back where they may begin; `prefix` is shown before all else.

    `answer` splits the text into reasoning, content and calls, which `reader` names after `name`;
    without it all text is content. `space` tells what to put before the first text, given its
    beginning. `names` and `num_top` are for log probabilities.
    """

    index: int
    texts: TokenStream
    stops: tuple[str, ...] = ()
    prefix: str = ""
    space: Callable[[str], str] | None = None
    answer: AnswerStream | None = None
    reader: MessageReader | None = None
    name: str = ""
    shows_reasoning: bool = True
    names: TokenNames | None = None
    num_top: int = 0
    _held: str = ""
    _logprobs: list[dict[str, Any]] = field(default_factory=list)

    def feed(self, token_ids: list[int], rows: LogprobRows | None) -> Piece:
        """Take the next tokens; what may be shown now."""
        if self.names is not None and rows is not None:
            entries = token_logprobs(token_ids, rows, self.num_top, self.names)
            self._logprobs += [entry.model_dump(mode="json") for entry in entries]
        text = self._held + self.texts.feed(token_ids)
        num_held = _num_held(text, self.stops)
        self._held = text[len(text) - num_held :]
        shown = text[: len(text) - num_held]
        if shown and self.space is not None:
            shown = self.space(shown) + shown
            self.space = None
        piece = self._piece(shown)
        if piece:
            self._logprobs = []
        return piece

    def _piece(self, text: str) -> Piece:
        prefix, self.prefix = self.prefix, ""
        logprobs = tuple(self._logprobs)
        if self.answer is None or self.reader is None:
            return Piece(index=self.index, content=prefix + text, logprobs=logprobs)
        delta = self.answer.feed(text)
        calls = [
            self.reader.tool_call(call, f"{self.name}:{delta.first_call + k}")
            for k, call in enumerate(delta.calls)
        ]
        return Piece(
            index=self.index,
            content=delta.content,
            reasoning=delta.reasoning if self.shows_reasoning else "",
            calls=tuple(call.model_dump(mode="json") for call in calls),
            logprobs=logprobs,
        )


def live_chat_choice(
    request: Request, chat: ChatCompletionRequest, reader: MessageReader, name: str
) -> LiveChoice:
    """A choice of a chat. `name` names it as in its finished answer."""
    parser = reader.parser
    form = form_of(request, chat, callable_functions(chat))
    is_parsed = parser is not None and parser.needs(form)
    skips = chat.skip_special_tokens is not False
    live = LiveChoice(
        index=request.choice_index,
        texts=_plain(reader.tokenizer, skips),
        stops=() if chat.include_stop_str_in_output else chat.stop_strings,
        name=name,
        shows_reasoning=chat.include_reasoning is not False,
        names=TokenNames(reader.tokenizer, bool(chat.return_tokens_as_token_ids))
        if chat.logprobs
        else None,
        num_top=chat.top_logprobs or 0,
    )
    if is_parsed and parser is not None:
        live.texts = TokenStream(reader.tokenizer, parser.reader(form), skips)
        live.answer = AnswerStream(parser, form, GUARD)
        live.reader = reader
    return live


def live_completion_choice(
    index: int,
    completion: CompletionRequest,
    tokenizer: Tokenizer,
    prompt: str,
    request: Request,
) -> LiveChoice | None:
    """Choice `index` of a text completion, counted over all its prompts, which `request` computes;
    None if its log probabilities are wanted, whose offsets are known only at the end.
    """
    if completion.logprobs is not None:
        return None
    skips = completion.skip_special_tokens is not False
    return LiveChoice(
        index=index,
        texts=_plain(tokenizer, skips),
        stops=() if completion.include_stop_str_in_output else completion.stop_strings,
        prefix=prompt if completion.echo else "",
        space=lambda text: leading_space(text, request, tokenizer, skips=skips),
    )


def _plain(tokenizer: Tokenizer, skips: bool) -> TokenStream:
    return TokenStream(tokenizer, OutputReader(tokenizer, ()), skips, is_guarded=False)


def _num_held(text: str, stops: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may be the beginning of a stop string."""
    longest = max(map(len, stops), default=0) - 1
    for length in range(min(len(text), longest), 0, -1):
        tail = text[-length:]
        if any(len(stop) > length and stop.startswith(tail) for stop in stops):
            return length
    return 0
