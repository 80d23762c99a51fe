"""Messages to one prompt text.

Owns: the checkpoint's chat template (or the one given with --chat-template), the form in which it
gets messages, and refusing what it would leave out. Must not know: tokens, sampling, what a job is.
Rendering goes through transformers' `apply_chat_template`: a sandbox, compiled once for each
template.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from engine.errors import EngineError, RequestError
from engine.template_probes import TemplateProbes
from engine.tokenizer import Tokenizer

__all__ = ["ChatOptions", "ChatTemplate", "read_chat_template"]

_TEXT_PARTS = ("text", "refusal")
_REASONING = ("reasoning", "reasoning_content")
_TELLING = ("developer", "system", "user")
# Names that mean something to `apply_chat_template` itself, or that it sets.
_RESERVED = frozenset(signature(PreTrainedTokenizerBase.apply_chat_template).parameters) | {
    "conversations",
    "messages",
}
# What goes wrong inside a template depends on the template; these are its own and Python's errors.
_RENDER_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TemplateError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """How a conversation is rendered. `kwargs` are handed to the template as they are; a
    `reasoning_effort` also sets `enable_thinking` unless `kwargs` does. `finds_calls`: answers are
    searched for calls, so tools mean something even if only messages tell the model of them.
    """

    add_generation_prompt: bool = True
    continue_final_message: bool = False
    reasoning_effort: str | None = None
    documents: Sequence[Mapping[str, Any]] | None = None
    finds_calls: bool = True
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def read_chat_template(path: str) -> str:
    """The template in the file that --chat-template names. Raises EngineError."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EngineError(f"--chat-template {path}: the file cannot be read: {error}") from error


class ChatTemplate:
    """Renders conversations for one tokenizer. Thread safe.

    `template` replaces the tokenizer's own. Templates without a place for system messages, calls,
    tools or documents come in two kinds: those that raise, and those that leave them out. Both
    refuse the conversation: what a client wrote is never dropped in silence.
    """

    def __init__(self, tokenizer: Tokenizer, template: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._template = template
        source = template or tokenizer.hf_tokenizer.chat_template or ""
        self._text = source if isinstance(source, str) else "\n".join(source.values())
        self._knows_developer = "developer" in self._text
        self._probes = TemplateProbes(
            lambda messages, tools, documents: self._render(
                messages, tools, ChatOptions(documents=documents)
            ),
            lambda messages, tools, documents: self._render_as_is(
                messages, tools, ChatOptions(documents=documents)
            ),
        )

    @property
    def source(self) -> str:
        """The text of the template, of all where a checkpoint has several; "" without one."""
        return self._text

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        options: ChatOptions = ChatOptions(),
    ) -> str:
        """The prompt for OpenAI messages; give it to `Tokenizer.encode_prompt`, which reads its
        marks. No tools and an empty list mean the same.

        Raises RequestError if the template refuses the conversation, fails on it, or has no place
        for a part of it.
        """
        if not self._text:
            raise RequestError(
                "This model has no chat template; start the worker with --chat-template.",
                param="messages",
            )
        prepared = [self._message(message) for message in messages]
        self._check_system(prepared)
        if tools:
            self._check_tools(prepared, tools, options.finds_calls)
        if options.documents and self._probes.drops_documents:
            raise _dropped("documents", "documents", "put their texts into a message")
        return self._render(self._with_calls(prepared, bool(tools)), tools, options)

    def _check_system(self, messages: Sequence[Mapping[str, Any]]) -> None:
        for index, message in enumerate(messages):
            if message.get("role") == "system" and message["content"] and self._probes.drops_system:
                raise RequestError(
                    "This model's chat template has no system role and would leave the message "
                    "out; put its text into the first user message.",
                    param=f"messages[{index}].role",
                    code="unsupported_value",
                )

    def _check_tools(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        finds_calls: bool,
    ) -> None:
        """A conversation may itself describe the tools, as DeepSeek's V3.1 wants it."""
        has_system = any(message.get("role") == "system" for message in messages)
        if not self._probes.drops_tools(has_system=has_system):
            return
        told = "\n".join(
            message["content"]
            for message in messages
            if message.get("role") in _TELLING and isinstance(message["content"], str)
        )
        also = "" if finds_calls else " and choose a --tool-call-parser"
        for name in map(_name_of, tools):
            if also or not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", told):
                raise _dropped("tools", "tools", f"describe {name!r} in a message{also}")

    def _with_calls(self, messages: list[dict[str, Any]], has_tools: bool) -> list[dict[str, Any]]:
        """The messages with their calls in the form that the template shows."""
        calling = [index for index, message in enumerate(messages) if message.get("tool_calls")]
        if not calling:
            return messages
        form = self._probes.call_form(has_tools=has_tools)
        if form is None:
            raise _dropped(f"messages[{calling[0]}].tool_calls", "tool calls", "write them as text")
        return [
            given
            for message in messages
            for given in (form.messages(message) if message.get("tool_calls") else (message,))
        ]

    def _render(
        self,
        messages: list[dict[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        options: ChatOptions,
    ) -> str:
        given = [
            {**message, "content": [{"type": "text", "text": message["content"]}]}
            if self._hides_text(message)
            else message
            for message in messages
        ]
        return self._render_as_is(given, tools, options)

    def _hides_text(self, message: Mapping[str, Any]) -> bool:
        content = message["content"]
        if not content or not isinstance(content, str):
            return False
        return self._probes.wants_parts(str(message.get("role")))

    def _render_as_is(
        self,
        messages: list[dict[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        options: ChatOptions,
    ) -> str:
        mark = self._tokenizer.control_tokens.mark
        try:
            return self._apply(
                mark(messages),
                tools=mark(list(tools)) if tools else None,
                documents=mark(list(options.documents)) if options.documents else None,
                add_generation_prompt=options.add_generation_prompt,
                continue_final_message=options.continue_final_message,
                **_template_kwargs(options),
            )
        except _RENDER_ERRORS as error:
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise RequestError(
                f"The chat template cannot render these messages: {reason}",
                param="messages",
            ) from error

    def _apply(
        self, messages: list[dict[str, Any]], *, tools: list[Any] | None, **kwargs: Any
    ) -> str:
        """`apply_chat_template`. It leaves out keys that are null; where a call needs them, the
        function underneath is called instead.
        """
        hf_tokenizer = self._tokenizer.hf_tokenizer
        if all(message["content"] is not None for message in messages):
            text: str = hf_tokenizer.apply_chat_template(
                messages, tools=tools, chat_template=self._template, tokenize=False, **kwargs
            )
            return text
        rendered: Any = render_jinja_template(
            [messages],
            tools=tools,
            chat_template=hf_tokenizer.get_chat_template(self._template, tools),
            **{**hf_tokenizer.special_tokens_map, **kwargs},
        )
        return str(rendered[0][0])

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """An OpenAI message in the form that templates expect: text parts joined, `developer` only
        where the template knows that role.
        """
        result = {key: value for key, value in message.items() if value is not None}
        if result.get("role") == "developer" and not self._knows_developer:
            result["role"] = "system"
        # Some templates break on a missing content, others on None: none do on an empty text.
        result["content"] = _text_content(result.get("content", ""))
        reasoning = next((result[key] for key in _REASONING if key in result), None)
        if reasoning is not None:
            result |= dict.fromkeys(_REASONING, reasoning)
        return result


def _template_kwargs(options: ChatOptions) -> dict[str, Any]:
    if taken := sorted(_RESERVED & options.kwargs.keys()):
        raise RequestError(
            f"Invalid 'chat_template_kwargs': {taken[0]!r} is not a variable of the template.",
            param=f"chat_template_kwargs.{taken[0]}",
        )
    kwargs = dict(options.kwargs)
    if options.reasoning_effort is not None:
        kwargs.setdefault("reasoning_effort", options.reasoning_effort)
        kwargs.setdefault("enable_thinking", options.reasoning_effort != "none")
    return kwargs


def _text_content(content: Any) -> Any:
    """Parts of text become one text, a line each, as in vLLM."""
    if not isinstance(content, Sequence) or isinstance(content, str):
        return content
    return "\n".join(
        part
        if isinstance(part, str)
        else str(next((part[k] for k in _TEXT_PARTS if k in part), ""))
        for part in content
    )


def _name_of(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return str((function if isinstance(function, Mapping) else tool).get("name", ""))


def _dropped(param: str, what: str, instead: str) -> RequestError:
    is_parameter = param == what
    return RequestError(
        f"Unsupported {'parameter' if is_parameter else 'value'}: '{param}' is not supported with "
        f"this model: its chat template would leave the {what} out. Start the worker with a "
        f"--chat-template that shows them, or {instead}.",
        param=param,
        code="unsupported_parameter" if is_parameter else "unsupported_value",
    )
