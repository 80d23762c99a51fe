"""White space around the calls of the families that put each call on lines of its own.

Owns: taking it off. Must not know: any family.
"""

from dataclasses import replace

from engine.parsers.contract import ParsedTools

__all__ = ["stripped"]


def stripped(parsed: ParsedTools) -> ParsedTools:
    """`parsed` with the white space at both ends of its content taken off; an answer without calls
    stays as it came.
    """
    if not parsed.calls or parsed.content is None:
        return parsed
    return replace(parsed, content=parsed.content.strip())
