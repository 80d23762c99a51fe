"""/v1/models.

Owns: the routes, and what a model's card says. Must not know: what a model is beyond its workers'
word.
"""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends

from jobs.api.openapi import ERRORS
from jobs.api.services import Services, services_of
from jobs.api.tenants import CurrentTenant
from jobs.registry import WorkerInfo
from schemas.errors import model_not_found
from schemas.served_models import ModelCard, ModelList

__all__ = ["router"]

router = APIRouter(prefix="/v1/models", tags=["Models"], responses=ERRORS)

CurrentServices = Annotated[Services, Depends(services_of)]


@router.get("")
async def list_models(services: CurrentServices, tenant: CurrentTenant) -> ModelList:
    """Every model that a live worker serves."""
    cards = _cards(await services.registry.live_workers())
    return ModelList(data=[cards[name] for name in sorted(cards)])


@router.get("/{model:path}")
async def retrieve_model(model: str, services: CurrentServices, tenant: CurrentTenant) -> ModelCard:
    """One model. Its name may hold slashes, escaped or not."""
    cards = _cards(await services.registry.live_workers())
    if model not in cards:
        raise model_not_found(model, cards)
    return cards[model]


def _cards(workers: Iterable[WorkerInfo]) -> dict[str, ModelCard]:
    """A model's first worker dates it; its context is what every worker of it can take."""
    cards: dict[str, ModelCard] = {}
    for worker in workers:
        for name in worker.models:
            known = cards.get(name)
            created, length = worker.started_at_ms // 1000, worker.max_model_len
            if known is not None:
                created, length = min(created, known.created), min(length, known.max_model_len)
            cards[name] = ModelCard(
                id=name, created=created, root=worker.models[0], max_model_len=length
            )
    return cards
