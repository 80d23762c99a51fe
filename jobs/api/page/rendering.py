"""The page as HTML.

Owns: the templates, the static files, and the policy that lets a browser load nothing else. Must
not know: where the numbers come from. Everything that comes from outside is escaped.
"""

from functools import cache
from importlib import resources
from typing import Any

from fastapi import Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from jobs.api.page.session import Session
from jobs.api.page.view import PageView, show_count, show_seconds

__all__ = ["STATIC_FILES", "fragments", "render", "static_file"]

STATIC_FILES = {
    "icon.svg": "image/svg+xml",
    "page.css": "text/css",
    "page.js": "text/javascript",
}
FRAGMENTS = ("overview", "batches", "workers")

_HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "connect-src 'self'",
            "img-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "referrer-policy": "same-origin",
}


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("jobs.api.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = show_count
    environment.filters["seconds"] = show_seconds
    return environment


def render(name: str, *, status_code: int = 200, **values: Any) -> Response:
    """A whole page from the template `name`."""
    text = _templates().get_template(name).render(**values)
    return HTMLResponse(text, status_code=status_code, headers=_HEADERS)


def fragments(view: PageView, session: Session) -> dict[str, str]:
    """The parts of the page that change, by the id of their element."""
    module = _templates().get_template("parts.html").make_module({"session": session})
    return {name: str(getattr(module, name)(view)) for name in FRAGMENTS}


def static_file(name: str) -> Response | None:
    """A style or script of the page; None for any other name."""
    if name not in STATIC_FILES:
        return None
    data = resources.files("jobs.api.page").joinpath(name).read_bytes()
    return Response(data, media_type=STATIC_FILES[name], headers={"cache-control": "no-cache"})
