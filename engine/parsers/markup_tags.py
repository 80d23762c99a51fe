"""The tags of call markup, found in one pass over a text.

Owns: what the tags of a family look like and where they stand. Must not know: what they mean
together (markup.py).
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["MarkupFormat", "Tag", "TagKind", "find_tags"]


class TagKind(StrEnum):
    """What a tag is for. NONE stands for a tag that is not there."""

    OPEN = "open"
    CLOSE = "close"
    FUNCTION = "function"
    END = "end"
    PARAMETER = "parameter"
    PARAMETER_END = "parameter_end"
    BROKEN = "broken"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class MarkupFormat:
    """The tags of a family as patterns; they must not match an empty text.

    `open` and `close` wrap calls. `function` begins one and `end` ends it; `parameter` and
    `parameter_end` stand around a value. `function` and `parameter` have a group `function_name`
    or `parameter_name`; a group `is_string` may tell whether a value is a plain text ("true") or
    JSON ("false"). `broken` finds what was meant as a function tag. `trims`: a line break at either
    end of a value belongs to the tag. `wrappers`: see `call_with`. `is_bare`: calls have no
    wrapper; then `close` matches nothing and `open` what was meant as a function tag.
    """

    open: str
    close: str
    function: str
    end: str
    parameter: str
    parameter_end: str
    broken: str
    trims: bool = False
    wrappers: tuple[str, ...] = ()
    is_bare: bool = False
    tags: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = ("function", "parameter", "parameter_end", "end", "open", "close", "broken")
        pattern = "|".join(f"(?P<{kind}>{getattr(self, kind)})" for kind in kinds)
        object.__setattr__(self, "tags", re.compile(pattern))


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag at [start, stop). `is_next`: only white space lies between it and the tag before."""

    kind: TagKind
    start: int
    stop: int
    is_next: bool
    name: str = ""
    is_json: bool = False


_IMPOSSIBLE_NAME = re.compile(r"[\s{}]")


def find_tags(text: str, form: MarkupFormat) -> list[Tag]:
    """All tags in order. A function whose name cannot be one counts as broken: models quote the
    templates they were trained on, {{ name }} and all.
    """
    tags: list[Tag] = []
    stop = 0
    for match in form.tags.finditer(text):
        groups = match.groupdict()
        kind = next(kind for kind in TagKind if groups.get(kind) is not None)
        name = groups["function_name"] or groups["parameter_name"] or ""
        name = name.strip().strip("\"'").strip()
        if kind is TagKind.FUNCTION and (not name or _IMPOSSIBLE_NAME.search(name)):
            kind = TagKind.OPEN if form.is_bare else TagKind.BROKEN
        is_next = not text[stop : match.start()].strip()
        is_json = groups.get("is_string") == "false"
        tags.append(Tag(kind, match.start(), match.end(), is_next, name, is_json))
        stop = match.end()
    return tags
