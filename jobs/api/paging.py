"""Lists of objects, page by page.

Owns: the query parameters and the keys around a page. Must not know: which objects.
"""

from typing import Any

from schemas.errors import ApiError
from schemas.wording import show

__all__ = ["bounds", "unknown_cursor"]


def bounds(ids: list[str]) -> dict[str, Any]:
    """The first and the last id of a page."""
    return {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}


def unknown_cursor(after: str | None) -> ApiError:
    """400: `after` is no object of this tenant."""
    message = f"Invalid 'after': no object with id {show(after)} was found."
    return ApiError(400, message, param="after", code="invalid_value")
