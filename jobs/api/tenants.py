"""Whose request it is.

Owns: the one dependency that every route asks for its tenant. Must not know: what tenants own.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from jobs.api.access import DEFAULT_TENANT
from jobs.api.services import services_of

__all__ = ["CurrentTenant", "Tenant", "request_tenant"]


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns what a request creates, and sees nothing but what it owns."""

    name: str


async def request_tenant(request: Request) -> Tenant:
    """The tenant of a request. Raises ApiError for one that may not be made."""
    access = services_of(request).access
    return Tenant(DEFAULT_TENANT if access is None else await access.tenant_of(request))


CurrentTenant = Annotated[Tenant, Depends(request_tenant)]
