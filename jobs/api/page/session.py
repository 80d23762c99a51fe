"""Who looks at the page.

Owns: the cookie that holds a key, and the checks that a form was sent by the page itself. Must not
know: what is on the page. The cookie is HttpOnly and SameSite=Strict; beyond that, a form must come
from this origin and, where there are keys, carry a token that only the holder of the key can make.
"""

import hashlib
import hmac
from dataclasses import dataclass

from fastapi import Request, Response

from jobs.api.access import check_same_site
from jobs.api.services import Services
from jobs.api.tenants import Tenant
from schemas.errors import ApiError

__all__ = ["Session", "check_form", "drop_cookie", "open_session", "set_cookie"]

_COOKIE = "headrace-key"
_KEEP_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who may look. `form_token` is "" where nobody needs a key."""

    owner: Tenant
    form_token: str

    @property
    def tenant(self) -> str:
        return self.owner.name

    @property
    def has_key(self) -> bool:
        return bool(self.form_token)


async def open_session(request: Request, services: Services) -> Session | None:
    """The session of a request; None if the caller has to sign in. Raises ApiError 403."""
    access = services.access
    if access is None:
        return Session(Tenant.of_key(None), "")
    secret = request.cookies.get(_COOKIE)
    try:
        key = await access.valid_key(secret)
    except ApiError:
        return None
    if key is None:
        access.check_host(request)
        return Session(Tenant.of_key(None), "")
    return Session(Tenant.of_key(key), _form_token(secret or ""))


def check_form(request: Request, session: Session | None) -> None:
    """Make sure that the page itself sent a form. Raises ApiError 403."""
    check_same_site(request)
    headers = request.headers
    if "origin" not in headers and headers.get("sec-fetch-site") != "same-origin":
        raise ApiError(403, "This form must be sent by a browser.", code="cross_site_request")
    if session is not None and session.has_key:
        token = request.query_params.get("token", "")
        if not hmac.compare_digest(token.encode(), session.form_token.encode()):
            raise ApiError(403, "This form is out of date: load the page again.", code="bad_token")


def set_cookie(response: Response, request: Request, secret: str) -> None:
    """Remember a key in the browser."""
    response.set_cookie(
        _COOKIE,
        secret,
        max_age=_KEEP_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def drop_cookie(response: Response) -> None:
    """Forget it."""
    response.delete_cookie(_COOKIE, httponly=True, samesite="strict")


def _form_token(secret: str) -> str:
    return hmac.new(secret.encode(), b"headrace form", hashlib.sha256).hexdigest()
