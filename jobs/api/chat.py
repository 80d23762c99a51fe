"""/v1/chat/completions.

Owns: the route. Must not know: how it is answered (online.py).
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from jobs.api.online import answer_online
from jobs.api.openapi import ERRORS, ONLINE_ANSWER, online_body
from jobs.api.services import Services, services_of
from jobs.api.tenants import CurrentTenant
from schemas.requests import CHAT_URL

__all__ = ["router"]

router = APIRouter(tags=["Chat"], responses=ERRORS)


@router.post(
    CHAT_URL,
    response_class=Response,
    openapi_extra=online_body("messages", {"type": "array", "items": {"type": "object"}}),
    responses=ONLINE_ANSWER,
)
async def create_chat_completion(
    request: Request, services: Annotated[Services, Depends(services_of)], tenant: CurrentTenant
) -> Response:
    """Answer a conversation, at once or in pieces. docs/REQUESTS.md lists the parameters."""
    return await answer_online(request, CHAT_URL, services, tenant)
