"""/health, /ready, /metrics.

Owns: what orchestrators and scrapers are told. Must not know: how readiness is found out.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from jobs.api.services import Services, services_of

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

CurrentServices = Annotated[Services, Depends(services_of)]


@router.head("/health")
@router.get("/health")
async def health() -> Response:
    """The process answers."""
    return Response("ok\n", media_type="text/plain")


@router.head("/ready")
@router.get("/ready")
async def ready(services: CurrentServices) -> Response:
    """Requests would succeed now."""
    trouble = await services.is_ready()
    if trouble is not None:
        return Response(f"{trouble}\n", status_code=503, media_type="text/plain")
    return Response("ok\n", media_type="text/plain")


@router.get("/metrics")
async def metrics(services: CurrentServices) -> Response:
    """Everything that is counted, for Prometheus."""
    return Response(generate_latest(services.metrics.registry), media_type=CONTENT_TYPE_LATEST)
