"""Messages to one prompt text.

Owns: the checkpoint's chat template (or the one given with --chat-template), and the form in which
it gets messages. Must not know: tokens, sampling, what a job is. Rendering goes through
transformers' `apply_chat_template`: a sandbox, compiled once for each template.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from engine.errors import EngineError, RequestError
from engine.tokenizer import Tokenizer

__all__ = ["ChatOptions", "ChatTemplate", "read_chat_template"]

_PROBE = "instructions-probe"
_TEXT_PARTS = ("text", "refusal")
_REASONING = ("reasoning", "reasoning_content")
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
    `reasoning_effort` also sets `enable_thinking` unless `kwargs` does.
    """

    add_generation_prompt: bool = True
    continue_final_message: bool = False
    reasoning_effort: str | None = None
    documents: Sequence[Mapping[str, Any]] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def read_chat_template(path: str) -> str:
    """The template in the file that --chat-template names. Raises EngineError."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EngineError(f"--chat-template {path}: the file cannot be read: {error}") from error


class ChatTemplate:
    """Renders conversations for one tokenizer. Thread safe.

    `template` replaces the tokenizer's own. Templates without a system role come in two kinds:
    those that raise, and those that leave system messages out. Both refuse the conversation: what
    a client wrote is never dropped in silence.
    """

    def __init__(self, tokenizer: Tokenizer, template: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._template = template
        source = template or tokenizer.hf_tokenizer.chat_template or ""
        self._text = source if isinstance(source, str) else "\n".join(source.values())
        self._knows_developer = "developer" in self._text

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
        for its system messages.
        """
        if not self._text:
            raise RequestError(
                "This model has no chat template; start the worker with --chat-template.",
                param="messages",
            )
        prepared = [self._message(message) for message in messages]
        for index, message in enumerate(prepared):
            if message.get("role") == "system" and message["content"] and self._drops_system:
                raise RequestError(
                    "This model's chat template has no system role and would leave the message "
                    "out; put its text into the first user message.",
                    param=f"messages[{index}].role",
                    code="unsupported_value",
                )
        return self._render(prepared, tools, options)

    @cached_property
    def _drops_system(self) -> bool:
        """Whether the template leaves system messages out; one that raises speaks for itself."""
        probe = [{"role": "system", "content": _PROBE}, {"role": "user", "content": "x"}]
        try:
            return _PROBE not in self._render(probe, None, ChatOptions())
        except RequestError:
            return False

    def _render(
        self,
        messages: list[dict[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        options: ChatOptions,
    ) -> str:
        mark = self._tokenizer.control_tokens.mark
        try:
            text: str = self._tokenizer.hf_tokenizer.apply_chat_template(
                mark(messages),
                tools=mark(list(tools)) if tools else None,
                documents=mark(list(options.documents)) if options.documents else None,
                chat_template=self._template,
                tokenize=False,
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
        return text

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """An OpenAI message in the form that templates expect: text parts joined, arguments of tool
        calls as objects, `developer` only where the template knows that role.
        """
        result = {key: value for key, value in message.items() if value is not None}
        if result.get("role") == "developer" and not self._knows_developer:
            result["role"] = "system"
        # Some templates break on a missing content, others on None: none do on an empty text.
        result["content"] = _text_content(result.get("content", ""))
        reasoning = next((result[key] for key in _REASONING if key in result), None)
        if reasoning is not None:
            result |= dict.fromkeys(_REASONING, reasoning)
        if calls := result.get("tool_calls"):
            result["tool_calls"] = [_tool_call(call) for call in calls]
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


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI sends arguments as a JSON text, templates want the object. A text that is no JSON
    object (a model wrote it) stays as it is.
    """
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return dict(call)
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError:
        return dict(call)
    if not isinstance(arguments, dict):
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}}
