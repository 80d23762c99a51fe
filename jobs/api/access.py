"""Who may call, and as which tenant.

Owns: reading keys from requests, and the rules of an endpoint without keys. Must not know: how keys
are kept, what tenants own. Without keys everybody who reaches the endpoint is one tenant; then a
browser on the same machine is the danger, since any page may send requests to a local address.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Request

from jobs.api.errors import RefusalWithHeaders
from jobs.api_keys import ApiKey, ApiKeys
from schemas.errors import ApiError
from schemas.wording import show

__all__ = ["Access", "check_same_site", "is_loopback"]

_CHALLENGE = {"www-authenticate": "Bearer"}
_SHOWN_CHARS = 15
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One endpoint's rules. `is_local`: it listens on loopback only. `allows_anonymous`: callers
    need no key while none was ever made.
    """

    keys: ApiKeys
    is_local: bool
    allows_anonymous: bool

    async def key_of(self, request: Request) -> ApiKey | None:
        """The key of an API request; None if none is needed. Raises ApiError 401, 403."""
        key = await self.valid_key(_bearer(request.headers))
        if key is None:
            check_same_site(request)
            self.check_host(request)
        return key

    async def valid_key(self, secret: str | None) -> ApiKey | None:
        """The key with this secret; None if none is needed. Raises ApiError 401."""
        checked = await self.keys.check(secret)
        if checked.key is not None:
            return checked.key
        if checked.is_needed:
            raise _unauthorized(_missing() if not secret else _wrong(secret))
        if not self.allows_anonymous:
            raise _unauthorized("No API key exists. Make one with 'headrace keys create'.")
        return None

    def check_host(self, request: Request) -> None:
        """A name that somebody made point to this machine is not our name. Raises ApiError 403."""
        host = request.headers.get("host")
        if self.is_local and host is not None and not is_loopback(_without_port(host)):
            host = show(host)
            message = f"This endpoint has no API keys and answers only to localhost, not to {host}."
            raise ApiError(403, message, code="host_not_allowed")


def check_same_site(request: Request) -> None:
    """Refuse what another site made a browser send. Raises ApiError 403."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "none")
    if _is_foreign(origin, request.headers.get("host")) or site not in ("none", "same-origin"):
        raise ApiError(403, "Requests from other sites are refused.", code="cross_site_request")


def _is_foreign(origin: str | None, host: str | None) -> bool:
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != host
    except ValueError:
        return True


def _without_port(host: str) -> str:
    """The name of a Host header as it was sent. (A parsed URL falls back to the socket's address
    for one that it cannot read, and browsers send some of those.)
    """
    match = _HOST.fullmatch(host)
    return match[1].lower() if match else ""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.strip() else None


def _missing() -> str:
    return (
        "You didn't provide an API key. Send it in the Authorization header: "
        "'Authorization: Bearer YOUR_KEY'."
    )


def _wrong(secret: str) -> str:
    """Enough of the key to tell which one it was; never its secret part."""
    shown = secret[:_SHOWN_CHARS] if secret.startswith("hr-") else secret[:3]
    return f"Incorrect API key provided: {shown}***."


def _unauthorized(message: str) -> RefusalWithHeaders:
    return RefusalWithHeaders(ApiError(401, message, code="invalid_api_key"), _CHALLENGE)
