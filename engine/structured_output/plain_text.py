r"""Texts that stand without quotes: which ones a schema of strings accepts, as regular expressions.

Owns: patterns, lengths, formats and enumerations of strings, and what such a text must not say
because its reader would take it for something else. Must not know: tools, families, JSON. The
expressions are terminals of a Lark grammar: intersection and complement are part of it.

Where a format of JSON Schema has several spellings, the usual one is allowed.
"""

from dataclasses import dataclass

from engine.errors import GrammarError
from engine.structured_output.grammar import quoted
from engine.structured_output.patterns import regex, whole_pattern

__all__ = ["ANY_TEXT", "FORMATS", "PlainText"]

ANY_TEXT = r"/(?s:.)*/"

_SHORT_YEAR = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9][0-9]|[1-9][0-9]{3})"
_FOURTH = "(?:0[48]|[2468][048]|[13579][26])"
_DATE = (
    rf"(?:{_SHORT_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    rf"|(?:[0-9][0-9]{_FOURTH}|{_FOURTH}00)-02-29)"
)
_TIME = (
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_GROUP = "[0-9a-f]{1,4}"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,60}[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,3}}"
_ATOM = r"[A-Za-z0-9_+-]{1,20}"
_N = "[0-9]{1,4}"
_DAYS = f"(?:{_N}Y(?:{_N}M(?:{_N}D)?)?|{_N}M(?:{_N}D)?|{_N}D)"
_HOURS = f"T(?:{_N}H(?:{_N}M(?:{_N}S)?)?|{_N}M(?:{_N}S)?|{_N}S)"
_PATH = r"[A-Za-z0-9._~!$&'()*+,;=:@-]"
FORMATS = {
    "date": _DATE,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": f"P(?:{_N}W|{_DAYS}(?:{_HOURS})?|{_HOURS})",
    "email": rf"{_ATOM}(?:\.{_ATOM}){{0,2}}@{_HOST}",
    "hostname": _HOST,
    "ipv4": rf"(?:{_OCTET}\.){{3}}{_OCTET}",
    "ipv6": rf"(?:(?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{1,6}}:{_GROUP}|::{_GROUP})",
    "time": _TIME,
    "uri": rf"[a-z][a-z0-9+.-]*://{_HOST}(?:/{_PATH}*)*(?:\?{_PATH}*)?(?:#{_PATH}*)?",
    "uuid": "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
"""Regular expressions of the formats that can be demanded of a plain text."""


@dataclass(frozen=True, slots=True)
class PlainText:
    """One kind of string: one of `literals`, or any, within these bounds."""

    literals: tuple[str, ...] | None = None
    min_length: int = 0
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None

    def terminal(self) -> str:
        """The expression of all its texts. Raises GrammarError for a pattern or format that it
        cannot be made of.
        """
        parts = [ANY_TEXT]
        if self.literals is not None:
            # A grammar has no literal for the empty text.
            parts = ["(" + " | ".join(quoted(text) if text else "/()/" for text in self.literals)]
            parts[0] += ")"
        if self.min_length or self.max_length is not None:
            most = "" if self.max_length is None else self.max_length
            parts.append(f"/(?s:.){{{self.min_length},{most}}}/")
        if self.pattern is not None:
            parts.append(regex(whole_pattern(self.pattern)))
        if self.format is not None:
            parts.append(regex(_format(self.format)))
        return f"({' & '.join(parts)})"


def _format(name: str) -> str:
    if name not in FORMATS:
        raise GrammarError(f"the format '{name}' is not supported")
    return FORMATS[name]
