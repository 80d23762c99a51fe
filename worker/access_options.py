"""The settings of who may call the endpoint, and how much each tenant may have in work.

Owns: the option group. Must not know: what becomes of it (access.py), what the commands do.
"""

from dataclasses import dataclass
from typing import Annotated

from worker.option_groups import setting

__all__ = ["AccessOptions", "KeyLimitOptions"]

_AS_ENDPOINT = "as the endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessOptions:
    """Callers and their limits; a limit of 0 is none."""

    allow_anonymous: Annotated[
        bool,
        setting(
            "--allow-anonymous",
            "Answer callers without a key on any address while no key was ever made.",
            shown_default="only on loopback",
        ),
    ] = False
    tenant_requests: Annotated[
        int,
        setting(
            "--tenant-requests",
            "Synchronous requests that one tenant may have waiting or running.",
            min=0,
        ),
    ] = 1_000
    tenant_tokens: Annotated[
        int,
        setting("--tenant-tokens", "Tokens (estimated) of a tenant's synchronous requests.", min=0),
    ] = 10_000_000
    tenant_batches: Annotated[
        int, setting("--tenant-batches", "Unfinished batches that one tenant may have.", min=0)
    ] = 0
    tenant_batch_requests: Annotated[
        int,
        setting(
            "--tenant-batch-requests",
            "Queued requests of a tenant's batches, above which it may order no other.",
            min=0,
        ),
    ] = 0
    tenant_batch_tokens: Annotated[
        int,
        setting("--tenant-batch-tokens", "The same in tokens (estimated).", min=0),
    ] = 0
    start_timeout: Annotated[
        float,
        setting(
            "--start-timeout", "Seconds that a synchronous request waits for a worker.", min=0.1
        ),
    ] = 60.0
    request_timeout: Annotated[
        float,
        setting("--request-timeout", "Seconds that a synchronous request may take.", min=0.1),
    ] = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimitOptions:
    """The limits of one key; None: those of the endpoint."""

    max_requests: Annotated[
        int | None,
        setting(
            "--max-requests",
            "Synchronous requests that the tenant may have waiting or running.",
            min=0,
            shown_default=_AS_ENDPOINT,
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        setting("--max-tokens", "Tokens (estimated) of those.", min=0, shown_default=_AS_ENDPOINT),
    ] = None
    max_batches: Annotated[
        int | None,
        setting(
            "--max-batches",
            "Unfinished batches that the tenant may have.",
            min=0,
            shown_default=_AS_ENDPOINT,
        ),
    ] = None
    max_batch_requests: Annotated[
        int | None,
        setting(
            "--max-batch-requests",
            "Queued requests of the tenant's batches, above which it may order no other.",
            min=0,
            shown_default=_AS_ENDPOINT,
        ),
    ] = None
    max_batch_tokens: Annotated[
        int | None,
        setting(
            "--max-batch-tokens",
            "The same in tokens (estimated).",
            min=0,
            shown_default=_AS_ENDPOINT,
        ),
    ] = None
    max_request_bytes: Annotated[
        int | None,
        setting(
            "--max-request-bytes",
            "Size of one synchronous request, less than the endpoint's own 1 MB.",
            min=0,
            shown_default=_AS_ENDPOINT,
        ),
    ] = None
