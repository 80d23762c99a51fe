"""/v1/completions.

Owns: the route. Must not know: how it is answered (online.py).
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from jobs.api.online import answer_online
from jobs.api.openapi import ERRORS, ONLINE_ANSWER, online_body
from jobs.api.services import Services, services_of
from jobs.api.tenants import CurrentTenant
from schemas.requests import COMPLETIONS_URL

__all__ = ["router"]

router = APIRouter(tags=["Completions"], responses=ERRORS)


@router.post(
    COMPLETIONS_URL,
    response_class=Response,
    openapi_extra=online_body("prompt", {"type": ["string", "array"]}),
    responses=ONLINE_ANSWER,
)
async def create_completion(
    request: Request, services: Annotated[Services, Depends(services_of)], tenant: CurrentTenant
) -> Response:
    """Continue texts, at once or in pieces. docs/REQUESTS.md lists the parameters."""
    return await answer_online(request, COMPLETIONS_URL, services, tenant)
