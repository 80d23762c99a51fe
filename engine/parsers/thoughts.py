"""Reasoning that is still in front of an answer when it comes to a tool parser.

Owns: keeping the calls in it from being taken for real ones. Must not know: any family. A reasoning
parser, where one runs, has cut it off before.
"""

from collections.abc import Callable
from dataclasses import replace

from engine.parsers.contract import ParsedTools
from engine.parsers.json_calls import skip_space

__all__ = ["after_thoughts"]


def after_thoughts(
    text: str, tags: tuple[str, str], parse: Callable[[str], ParsedTools]
) -> ParsedTools:
    """Parse what follows the thoughts. If the text begins with the first of `tags`, everything up
    to the second is content as it is, calls or not; all of it, as long as the second is missing.
    """
    if not text.lstrip().startswith(tags[0]):
        return parse(text)
    end = text.find(tags[1])
    if end < 0:
        return ParsedTools(text)
    end = skip_space(text, end + len(tags[1]))
    parsed = parse(text[end:])
    return replace(parsed, content=text[:end] + (parsed.content or ""))
