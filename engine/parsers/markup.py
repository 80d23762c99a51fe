"""Calls written as markup: a function tag around parameter tags, often inside a wrapper.

Owns: reading that shape, shared by Qwen 3 Coder, Seed-OSS, MiniMax M2, DeepSeek V3.2 and Step 3.
Must not know: the families' texts (their files hold the patterns), types (parameters.py).

None of these formats escapes anything, and models write files that contain such markup. So a tag
counts only where it can stand: a closing parameter tag if a tag of the call follows it; a parameter
tag inside a value only if the tool has such a parameter, it was not given yet, and its own closing
tag stands where one can; a whole wrapped call inside a value belongs to the value. A call without
the wrapper is taken if it names a tool. What is decided at a tag depends on what stands before it
and on the tags right behind it, never on where the text ends, and no text is read twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.parsers.contract import ParsedTools, ToolCall
from engine.parsers.found import Found
from engine.parsers.markup_tags import MarkupFormat, Tag, TagKind, find_tags
from engine.parsers.parameters import Parameter, call_with, declared_names

__all__ = ["read_markup"]

_CALL_TAGS = (TagKind.PARAMETER, TagKind.END, TagKind.CLOSE)


def read_markup(text: str, form: MarkupFormat, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
    """Everything that stands in `text`, an answer."""
    return _Reader(text, form, tools).read()


class _MalformedCallError(Exception):
    """Why there is no call. The reader's index is the tag at which reading goes on."""


class _Reader:
    """One text being read: `index` is the next tag, `position` where unread content begins."""

    def __init__(self, text: str, form: MarkupFormat, tools: Sequence[Mapping[str, Any]]) -> None:
        self.text, self.form, self.tools = text, form, tools
        self.tool_names = {tool.get("name") for tool in tools}
        self.tags = find_tags(text, form)
        self.closing = _following(self.tags, TagKind.PARAMETER_END)
        self.ending = _following(self.tags, TagKind.END)
        self.found = Found()
        self.index = self.position = 0
        self.is_wrapped = False
        # The tag behind which nothing of a call is left.
        self.closer = TagKind.END if form.is_bare else TagKind.CLOSE

    def read(self) -> ParsedTools:
        while self.index < len(self.tags):
            self._read_tag(self.tags[self.index])
        self.found.add_content(self.text[self.position :])
        return self.found.result(self.text)

    def _read_tag(self, tag: Tag) -> None:
        """Read on from a tag that is not inside a call."""
        if tag.kind is TagKind.OPEN:
            self._read_wrapper()
        elif tag.kind is TagKind.CLOSE and self.is_wrapped:
            self._drop_marker(tag)
            self.is_wrapped = False
        elif tag.kind is TagKind.FUNCTION and self._is_expected(tag):
            self._read_call(self.index)
        elif tag.kind is TagKind.BROKEN and self.is_wrapped:
            self.index += 1
            self._fail(tag.start, "the name of a function cannot be read")
        else:
            self.index += 1

    def _is_expected(self, tag: Tag) -> bool:
        is_called = self.is_wrapped or self.form.is_bare
        return is_called or not self.tool_names or tag.name in self.tool_names

    def _read_wrapper(self) -> None:
        opening = self.index
        self.index += 1
        self.is_wrapped = True
        kind = self._kind(self.index)
        if kind is TagKind.FUNCTION:
            self._read_call(opening)
        elif kind is TagKind.BROKEN:
            self.index += 1
            self._fail(self.tags[opening].start, "the name of a function cannot be read")
        elif self._kind(self.index, adjacent=False) is TagKind.FUNCTION and not self.form.is_bare:
            self.index = opening
            self._drop_marker(self.tags[opening])
        else:
            self._fail(self.tags[opening].start, "no call stands where one was announced")

    def _drop_marker(self, tag: Tag) -> None:
        self.found.add_content(self.text[self.position : tag.start])
        self.position = tag.stop
        self.index += 1

    def _read_call(self, opening: int) -> None:
        """Read the call whose function tag is next; `opening` is its first tag."""
        function = self.tags[self.index]
        garbage: list[str] = []
        try:
            parameters = self._parameters(function, garbage)
            call = call_with(function.name, parameters, self.tools, wrappers=self.form.wrappers)
            if not isinstance(call, ToolCall):
                raise _MalformedCallError(call)
        except _MalformedCallError as error:
            self._fail(self.tags[opening].start, str(error))
            return
        self.found.add_content(self.text[self.position : self.tags[opening].start])
        for piece in filter(str.strip, garbage):
            self.found.add_content(piece)
        self.found.calls.append(call)
        self.position = self.tags[self.index - 1].stop
        if self._kind(self.index) is TagKind.CLOSE:
            self.position = self.tags[self.index].stop
            self.index += 1
            self.is_wrapped = False

    def _fail(self, start: int, reason: str) -> None:
        """No call from `start` to the closing wrapper, the next call or the end of the text."""
        ends = (TagKind.OPEN, TagKind.FUNCTION, self.closer, TagKind.NONE)
        while (kind := self._kind(self.index, adjacent=False)) not in ends:
            self.index += 1
        stop = len(self.text)
        if kind is self.closer:
            stop = self.tags[self.index].stop
            self.index += 1
        elif kind is not TagKind.NONE:
            stop = self.tags[self.index].start
        self.is_wrapped = kind is TagKind.FUNCTION and self.is_wrapped
        self.found.add_content(self.text[self.position : start])
        self.found.add_failure(self.text[start:stop], reason)
        self.position = stop

    def _parameters(self, function: Tag, garbage: list[str]) -> list[Parameter]:
        """Read from the function tag to behind the tag that ends the call, its own or the closing
        wrapper. Text between the parameters goes to `garbage`.
        """
        names = declared_names(self.tools, function.name)
        given: dict[str, Parameter] = {}
        position = function.stop
        self.index += 1
        while self.index < len(self.tags):
            tag = self.tags[self.index]
            garbage.append(self.text[position : tag.start])
            if tag.kind in (TagKind.OPEN, TagKind.FUNCTION, TagKind.BROKEN):
                raise _MalformedCallError(f"the call of {function.name!r} has no end")
            self.index += 1
            position = tag.stop
            if tag.kind in (TagKind.END, TagKind.CLOSE):
                self.is_wrapped = self.is_wrapped and tag.kind is TagKind.END
                return list(given.values())
            if tag.kind is TagKind.PARAMETER:
                position = self._find_value_end(names, {*given, tag.name})
                value = self.text[tag.stop : position]
                given[tag.name] = Parameter(tag.name, self._trimmed(value), tag.is_json)
                if self.tags[self.index].kind is TagKind.PARAMETER_END:
                    position = self.tags[self.index].stop
                    self.index += 1
        raise _MalformedCallError(f"the call of {function.name!r} is cut off")

    def _find_value_end(self, names: frozenset[str], given: set[str]) -> int:
        """Where the value ends that begins before the next tag. The index moves to the tag that
        ends it.
        """
        stray = None
        depth = inner = 0
        for index in range(self.index, len(self.tags)):
            kind = self.tags[index].kind
            if self._opens_call(index):
                depth += 1
            elif depth:
                depth -= kind is self.closer
            elif kind is TagKind.PARAMETER_END:
                if self._closes(index, names, given):
                    self.index = index
                    return self.tags[index].start
                if inner:
                    inner -= 1
                elif stray is None:
                    stray = index
            elif self._interrupts(index, names, given):
                self.index = index if stray is None else stray
                return self.tags[self.index].start
            else:
                inner += kind is TagKind.PARAMETER
        self.index = len(self.tags)
        raise _MalformedCallError("the value of a parameter is cut off")

    def _closes(self, index: int, names: frozenset[str], given: set[str]) -> bool:
        """Whether the closing parameter tag at `index` is where one can be."""
        if index + 1 == len(self.tags):
            return True
        kind = self._kind(index + 1)
        if kind is TagKind.PARAMETER:
            return self._is_new(index + 1, names, given) or self._is_parameter(index + 1)
        return kind not in (TagKind.NONE, TagKind.PARAMETER_END)

    def _interrupts(self, index: int, names: frozenset[str], given: set[str]) -> bool:
        """Whether the tag at `index` ends a value that lacks its closing tag."""
        kind = self.tags[index].kind
        if kind is TagKind.PARAMETER:
            return self._is_new(index, names, given) and self._is_parameter(index)
        if kind is TagKind.END:
            return self._ends_value(index)
        return kind is TagKind.CLOSE and self._precedes_call(index)

    def _ends_value(self, index: int) -> bool:
        """Whether the end of a call at `index` is one inside a value that was not closed. Without
        the wrapper there is nothing to tell by, and it is.
        """
        if not self.is_wrapped and not self.form.is_bare:
            return True
        is_followed = self._kind(index + 1) in (TagKind.CLOSE, TagKind.FUNCTION)
        return is_followed or self._precedes_call(index)

    def _precedes_call(self, index: int) -> bool:
        """Whether nothing but a whole call follows the tag at `index`."""
        return self._kind(index + 1) is TagKind.OPEN and self._opens_call(index + 1)

    def _is_new(self, index: int, names: frozenset[str], given: set[str]) -> bool:
        name = self.tags[index].name
        return name not in given and (name in names or not names)

    def _is_parameter(self, index: int) -> bool:
        """Whether the closing tag behind the parameter tag at `index` is where one can be; a call
        in which no value is closed any more will do too.
        """
        closing, ending = self.closing[index], self.ending[index]
        if ending < closing:
            return self._ends_value(ending)
        return self._kind(closing + 1) in _CALL_TAGS

    def _opens_call(self, index: int) -> bool:
        """Whether a whole call begins at the tag at `index`."""
        kind = self._kind(index, adjacent=False)
        if self.form.is_bare:
            return kind is TagKind.FUNCTION
        return kind is TagKind.OPEN and self._kind(index + 1) is TagKind.FUNCTION

    def _kind(self, index: int, *, adjacent: bool = True) -> TagKind:
        """The kind of a tag, NONE if it is not there or text stands before it."""
        if index >= len(self.tags) or (adjacent and not self.tags[index].is_next):
            return TagKind.NONE
        return self.tags[index].kind

    def _trimmed(self, value: str) -> str:
        return value.removeprefix("\n").removesuffix("\n") if self.form.trims else value


def _following(tags: Sequence[Tag], kind: TagKind) -> list[int]:
    """For each tag the index of the first one of `kind` at or behind it, or their number."""
    following = [len(tags)] * (len(tags) + 1)
    for index in range(len(tags) - 1, -1, -1):
        following[index] = index if tags[index].kind is kind else following[index + 1]
    return following
