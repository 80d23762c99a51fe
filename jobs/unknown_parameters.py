"""Parameters that no endpoint knows, for those who want them left out instead of refused.

Owns: leaving them out, and saying so once for each name. Must not know: lines, HTTP. Producers do
it before a request enters the queue, so workers never see such a parameter.
"""

import logging
from functools import lru_cache
from typing import Any

from schemas.requests import ENDPOINTS
from schemas.wording import show

__all__ = ["without_unknown"]

_log = logging.getLogger(__name__)

_NAMES_SAID = 256


def without_unknown(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The body with those of its keys that requests to the endpoint `url` may have. Keys inside of
    them are not looked at.
    """
    known = ENDPOINTS[url].parameters
    unknown = [name for name in body if name not in known]
    if not unknown:
        return body
    for name in unknown:
        _say_once(url, name)
    return {name: value for name, value in body.items() if name in known}


@lru_cache(maxsize=_NAMES_SAID)
def _say_once(url: str, name: str) -> None:
    _log.warning("%s has no parameter %s: it is left out of all requests", url, show(name))
