"""Templates to pages.

Owns: the template environment and the numbers' form. Must not know: what pages are about.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["percent", "render", "shortened", "signed_percent"]

_FOLDER = Path(__file__).parent
_TEXT_CHARS = 4_000


def render(template: str, values: Mapping[str, Any]) -> str:
    """A whole page; every value is escaped."""
    style = Markup((_FOLDER / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - our own
    page: str = (
        _environment()
        .get_template(template)
        .render(style=style, percent=percent, signed_percent=signed_percent, **values)
    )
    return page


def percent(share: float) -> str:
    """0.1234 as 12.3%."""
    return f"{share * 100:.1f}%"


def signed_percent(share: float) -> str:
    """0.1234 as +12.3, in points of per cent."""
    return f"{share * 100:+.1f}"


def shortened(text: str) -> str:
    """A text that one page can hold many of."""
    return text if len(text) <= _TEXT_CHARS else text[:_TEXT_CHARS] + "…"


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
