"""/ and /ui/...: the page, its forms and files.

Owns: the routes. Must not know: how anything is looked up or drawn. What a form does is what the
API does, by the same stores; a refusal is shown on the page.
"""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from jobs.api.files import retrieve_content
from jobs.api.page.live import LiveParts
from jobs.api.page.orders import cancel, upload_and_order
from jobs.api.page.rates import Rates
from jobs.api.page.rendering import fragments, render, static_file
from jobs.api.page.session import Session, check_form, drop_cookie, open_session, set_cookie
from jobs.api.page.view import gather
from jobs.api.services import Services, services_of
from jobs.api.tenants import Tenant
from schemas.errors import ApiError

__all__ = ["router"]

_MAX_FORM_BYTES = 4096

router = APIRouter(include_in_schema=False)

CurrentServices = Annotated[Services, Depends(services_of)]


@router.get("/")
async def index(request: Request, services: CurrentServices) -> Response:
    """The page, or the form to sign in."""
    session = await open_session(request, services)
    return _sign_in() if session is None else await _page(request, services, session)


@router.get("/ui/events")
async def events(request: Request, services: CurrentServices) -> Response:
    """What changes on the page, as it changes."""
    await _needed(request, services)
    rates = _rates(request)

    async def look() -> Mapping[str, str] | None:
        session = await open_session(request, services)
        if session is None:
            return None
        return fragments(await gather(services, session.tenant, rates), session)

    return LiveParts(look, services.is_stopping)


@router.post("/ui/sign-in")
async def sign_in(request: Request, services: CurrentServices) -> Response:
    """Keep a key in the browser, if it is one."""
    check_form(request, None)
    secret = (await _fields(request)).get("key", "").strip()
    access = services.access
    try:
        key = None if access is None else await access.valid_key(secret)
    except ApiError as error:
        return _sign_in(error.message, status_code=error.status_code)
    response = _back()
    if key is not None:  # else nobody needs one here
        set_cookie(response, request, secret)
    return response


@router.post("/ui/sign-out")
async def sign_out(request: Request, services: CurrentServices) -> Response:
    """Forget the key."""
    check_form(request, await _needed(request, services))
    response = _back()
    drop_cookie(response)
    return response


@router.post("/ui/batches")
async def create_batch(request: Request, services: CurrentServices) -> Response:
    """Upload a file and run it."""
    session = await _needed(request, services)
    check_form(request, session)
    try:
        await upload_and_order(request, services, session.owner)
    except ApiError as error:
        return await _page(request, services, session, error)
    return _back()


@router.post("/ui/batches/{batch_id}/cancel")
async def cancel_batch(batch_id: str, request: Request, services: CurrentServices) -> Response:
    """Ask a batch to end."""
    session = await _needed(request, services)
    check_form(request, session)
    try:
        await cancel(batch_id, services, session.tenant)
    except ApiError as error:
        return await _page(request, services, session, error)
    return _back()


@router.get("/ui/files/{file_id}")
async def download(file_id: str, request: Request, services: CurrentServices) -> Response:
    """A file of results."""
    session = await _needed(request, services)
    return await retrieve_content(file_id, request, services, Tenant(session.tenant))


@router.get("/ui/static/{name}")
async def static(name: str) -> Response:
    """The page's style and script."""
    found = static_file(name)
    if found is None:
        raise HTTPException(404)
    return found


async def _page(
    request: Request, services: Services, session: Session, error: ApiError | None = None
) -> Response:
    view = await gather(services, session.tenant, _rates(request))
    return render(
        "index.html",
        status_code=error.status_code if error is not None else 200,
        session=session,
        parts=fragments(view, session),
        message=error.message if error is not None else "",
    )


def _sign_in(message: str = "", *, status_code: int = 200) -> Response:
    return render("sign_in.html", status_code=status_code, message=message)


def _back() -> Response:
    return RedirectResponse("/", status_code=303)


async def _needed(request: Request, services: Services) -> Session:
    session = await open_session(request, services)
    if session is None:
        raise ApiError(401, "Sign in on the page first.", code="invalid_api_key")
    return session


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a small form. Raises ApiError 413."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            raise ApiError(413, "The form is too large.", code="request_too_large")
    text = body.decode("utf-8", "replace")
    return {name: values[0] for name, values in parse_qs(text).items()}


def _rates(request: Request) -> Rates:
    """One memory of paces for each app."""
    state = request.app.state
    if not hasattr(state, "rates"):
        state.rates = Rates()
    rates = state.rates
    assert isinstance(rates, Rates)
    return rates
