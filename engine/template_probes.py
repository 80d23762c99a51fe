"""What a chat template shows of what it is given.

Owns: finding that out by rendering small samples, each once. Must not know: requests, how a
template is rendered. A template that refuses a sample is taken to show everything: it will speak
for itself when it gets the real thing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from engine.errors import RequestError
from engine.template_calls import CALL_FORMS, CallForm

__all__ = ["TemplateProbes"]

_Objects = Sequence[Mapping[str, Any]]
_Render = Callable[[list[dict[str, Any]], _Objects | None, _Objects | None], str]

_PROBE = "probe"
_PROBED_ROLES = ("assistant", "system", "user")
_USER = {"role": "user", "content": "x"}
_SYSTEM = {"role": "system", "content": f"{_PROBE}-instructions"}
_NAME = f"{_PROBE}_function"
_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "x",
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
    },
}
_TEXT = f"{_PROBE}-text"
_DOCUMENT = dict.fromkeys(("title", "text", "content", "contents"), _TEXT) | {"doc_id": "1"}
_CALL_ID = "probe0001"  # Mistral's templates take nine letters and digits only
_ARGUMENTS = {"x": f"{_PROBE}-argument"}
_CALL = {
    "id": _CALL_ID,
    "type": "function",
    "function": {"name": _NAME, "arguments": f'{{"x": "{_ARGUMENTS["x"]}"}}'},
}
_CALLING = {"role": "assistant", "tool_calls": [_CALL]}
_RESULT = {"role": "tool", "tool_call_id": _CALL_ID, "name": _NAME, "content": "x"}


class TemplateProbes:
    """The findings about one template. `render` takes messages, tools and documents, and raises
    RequestError; so does `render_as_is`, which hands contents to the template as they are, whatever
    `wants_parts` says. Thread safe: two threads may find out the same.
    """

    def __init__(self, render: _Render, render_as_is: _Render) -> None:
        self._render = render
        self._render_as_is = render_as_is
        self._wants_parts: dict[str, bool] = {}
        self._tools: dict[bool, bool] = {}
        self._call_forms: dict[bool, CallForm | None] = {}

    def wants_parts(self, role: str) -> bool:
        """Whether contents of that role are shown as lists of parts only. Templates that are shared
        with multimodal models may look for the parts in a text, and find none.
        """
        role = role if role in _PROBED_ROLES else "user"
        if role not in self._wants_parts:
            parts = [{"type": "text", "text": _TEXT}]
            is_shown = [self._shows_content(role, content) for content in (_TEXT, parts)]
            self._wants_parts[role] = is_shown == [False, True]
        return self._wants_parts[role]

    def _shows_content(self, role: str, content: Any) -> bool:
        probe = {"role": role, "content": content}
        messages = {
            "assistant": [_USER, probe],
            "system": [probe, _USER],
            "user": [probe],
        }[role]
        try:
            return _TEXT in self._render_as_is(messages, None, None)
        except RequestError:
            return False

    @cached_property
    def drops_system(self) -> bool:
        """Whether system messages are left out."""
        return not self._shows(_SYSTEM["content"], [_SYSTEM, _USER])

    @cached_property
    def drops_documents(self) -> bool:
        """Whether documents are left out."""
        return not self._shows(_TEXT, [_USER], documents=[_DOCUMENT])

    def drops_tools(self, *, has_system: bool) -> bool:
        """Whether tools are left out of conversations with or without a system message."""
        if has_system not in self._tools:
            messages = [_SYSTEM, _USER] if has_system else [_USER]
            self._tools[has_system] = not self._shows(_NAME, messages, tools=[_TOOL])
        return self._tools[has_system]

    def call_form(self, *, has_tools: bool) -> CallForm | None:
        """The form in which calls of earlier turns are shown, None if they are in none."""
        if has_tools not in self._call_forms:
            self._call_forms[has_tools] = self._find_call_form([_TOOL] if has_tools else None)
        return self._call_forms[has_tools]

    def _find_call_form(self, tools: _Objects | None) -> CallForm | None:
        rendered = [(form, self._rendered_call(form, "", tools)) for form in CALL_FORMS]
        if all(text is None for _, text in rendered):
            return CALL_FORMS[0]
        shown = [(form, text) for form, text in rendered if text is not None and _has_call(text)]
        if not shown:
            return None
        first, shortest = shown[0]
        for form, text in shown[1:]:
            # An empty content may be shown as an empty answer beside the call, null as "None".
            if form.has_text_arguments == first.has_text_arguments and len(text) < len(shortest):
                return self._with_content(form, tools)
        return self._with_content(first, tools)

    def _with_content(self, form: CallForm, tools: _Objects | None) -> CallForm:
        """The form with what becomes of a text beside a call: it stands alone if the call would
        vanish, and where null matters also if the text would, or would follow the call.
        """
        text = self._rendered_call(form, _TEXT, tools)
        if text is None:
            return replace(form, has_own_content=form.has_null_content)
        behind = text.partition(_TEXT)[2]
        is_whole = _has_call(behind) if form.has_null_content else _has_call(text)
        return form if is_whole else replace(form, has_own_content=True)

    def _rendered_call(self, form: CallForm, content: str, tools: _Objects | None) -> str | None:
        calling = form.messages({**_CALLING, "content": content})
        try:
            return self._render([_USER, *calling, _RESULT], tools, None)
        except RequestError:
            return None

    def _shows(
        self,
        text: str,
        messages: list[dict[str, Any]],
        *,
        tools: _Objects | None = None,
        documents: _Objects | None = None,
    ) -> bool:
        try:
            return text in self._render(messages, tools, documents)
        except RequestError:
            return True


def _has_call(text: str) -> bool:
    """Python's own spelling of an object is nothing that a model has seen."""
    return _ARGUMENTS["x"] in text and str(_ARGUMENTS) not in text
