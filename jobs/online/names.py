"""The batches of waiting clients.

Owns: their names. Must not know: what is in them. Workers, scripts (scripts/_keys.lua) and the
endpoint tell such a batch by its name alone, so nobody else may use one.
"""

__all__ = ["ONLINE_PREFIX", "is_online", "online_batch_id"]

ONLINE_PREFIX = "online-"


def online_batch_id(tenant: str) -> str:
    """The batch of all requests of a tenant that somebody waits for."""
    return ONLINE_PREFIX + tenant


def is_online(batch_id: str) -> bool:
    """Whether clients wait for the lines of a batch."""
    return batch_id.startswith(ONLINE_PREFIX)
