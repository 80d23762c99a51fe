"""From one finished choice to its message.

Owns: what is shown of an output, with or without a parser, and how calls are named and judged. Must
not know: rows, usage, other choices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import xxhash

from engine.parsers.answer import AnswerForm, AnswerParser
from engine.parsers.contract import ToolCall
from engine.request import Request
from engine.tokenizer import Tokenizer
from schemas.chat import ChatCompletionRequest
from schemas.chat_response import ResponseFunction, ResponseMessage, ResponseToolCall
from worker.tool_arguments import arguments_are_valid

__all__ = ["ChoiceMessage", "MessageReader", "callable_functions", "form_of"]

_SHORT_ID = 9
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class ChoiceMessage:
    """What one choice says. `parse_error`: text that looked like a call was none.

    `arguments_are_valid` is None without calls, and where nobody can tell.
    """

    message: ResponseMessage
    num_reasoning_tokens: int = 0
    parse_error: str | None = None
    arguments_are_valid: bool | None = None


@dataclass(frozen=True, slots=True)
class MessageReader:
    """Reads the outputs of one model; without a parser they are text."""

    tokenizer: Tokenizer
    parser: AnswerParser | None = None

    def read(self, request: Request, chat: ChatCompletionRequest, name: str) -> ChoiceMessage:
        """The message of a choice that has ended. `name` names the choice: ids follow from it."""
        functions = callable_functions(chat)
        form = replace(
            form_of(request, chat, functions), num_hidden_characters=self._num_hidden(request, chat)
        )
        if self.parser is None or not self.parser.needs(form):
            return ChoiceMessage(ResponseMessage(content=self._text(request, chat)))
        answer = self.parser.parse(_shown_tokens(request, chat), form)
        found = answer.calls[:1] if chat.parallel_tool_calls is False else answer.calls
        calls = [self.tool_call(call, f"{name}:{i}") for i, call in enumerate(found)]
        message = ResponseMessage(
            content=answer.content,
            reasoning=answer.reasoning if chat.include_reasoning is not False else None,
            tool_calls=calls or None,
        )
        return ChoiceMessage(
            message,
            answer.num_reasoning_tokens,
            answer.error,
            arguments_are_valid(found, functions or ()),
        )

    def tool_call(self, call: ToolCall, name: str) -> ResponseToolCall:
        """The call as an answer holds it. `name` names it: its id follows from that."""
        assert self.parser is not None
        tools = self.parser.tool_parser
        short = tools is not None and tools.syntax.has_short_ids
        return ResponseToolCall(
            id=call.id or _call_id(name, short=short),
            function=ResponseFunction(name=call.name, arguments=call.arguments),
        )

    def _num_hidden(self, request: Request, chat: ChatCompletionRequest) -> int:
        """How many characters of the output a stop string takes away at its end."""
        if not isinstance(request.stop_reason, str) or request.stop_matcher is None:
            return 0
        return len(self._decoded(request, chat)) - len(request.stop_matcher.text)

    def _decoded(self, request: Request, chat: ChatCompletionRequest) -> str:
        return self.tokenizer.decode(
            _shown_tokens(request, chat), skip_special_tokens=chat.skip_special_tokens is not False
        )

    def _text(self, request: Request, chat: ChatCompletionRequest) -> str:
        """What is shown of the output: without the stop string, or the token that ended it."""
        if isinstance(request.stop_reason, str) and request.stop_matcher is not None:
            return request.stop_matcher.text
        return self._decoded(request, chat)


def callable_functions(chat: ChatCompletionRequest) -> list[dict[str, Any]] | None:
    """The functions that the model may call; None where it may call none."""
    tools: Sequence[Mapping[str, Any]] = chat.template_tools or ()
    return [tool["function"] for tool in tools if "function" in tool] or None


def form_of(
    request: Request, chat: ChatCompletionRequest, functions: Sequence[Mapping[str, Any]] | None
) -> AnswerForm:
    """What is known about the output of a request, as far as it has come."""
    return AnswerForm(
        tools=functions,
        prompt_token_ids=request.prompt_token_ids,
        is_continued=bool(chat.continue_final_message),
        skip_special_tokens=chat.skip_special_tokens is not False,
    )


def _shown_tokens(request: Request, chat: ChatCompletionRequest) -> list[int]:
    """The output without the token that ended it, unless that was asked for."""
    tokens = request.output_token_ids
    is_cut = request.ends_with_stop_token and not isinstance(request.stop_reason, str)
    return tokens[:-1] if is_cut and not chat.include_stop_str_in_output else tokens


def _call_id(name: str, *, short: bool) -> str:
    """The same for the same call of the same job, however often it runs."""
    if not short:
        return f"call_{xxhash.xxh3_128_hexdigest(f'call:{name}'.encode())[:24]}"
    number = xxhash.xxh3_64_intdigest(f"call:{name}".encode())
    digits = ""
    for _ in range(_SHORT_ID):
        number, digit = divmod(number, len(_LETTERS))
        digits += _LETTERS[digit]
    return digits
