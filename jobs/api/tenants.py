"""Whose request it is.

Owns: the one dependency that every route asks for its tenant. Must not know: what tenants own.
"""

from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Request

from jobs.api.services import services_of
from jobs.api_keys import NO_LIMITS, ApiKey, KeyLimits

__all__ = ["CurrentTenant", "Tenant", "request_tenant"]

_DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns what a request creates, and sees nothing but what it owns; `limits` are those of
    the key that was shown.
    """

    name: str
    limits: KeyLimits = NO_LIMITS

    @classmethod
    def of_key(cls, key: ApiKey | None) -> Self:
        """The tenant of a key, or of everybody where no key is needed."""
        return cls(_DEFAULT_TENANT) if key is None else cls(key.tenant, key.limits)


async def request_tenant(request: Request) -> Tenant:
    """The tenant of a request. Raises ApiError for one that may not be made."""
    access = services_of(request).access
    return Tenant.of_key(None if access is None else await access.key_of(request))


CurrentTenant = Annotated[Tenant, Depends(request_tenant)]
