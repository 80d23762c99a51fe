"""What an operator's or another program's hands may do to a running batch's keys.

Owns: the commands that come from outside the protocol. Must not know: how they are survived.
"""

from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from jobs.keys import Keys

__all__ = ["MEDDLINGS", "meddle"]

GROUP = "g"
MEDDLINGS = (
    "ack",
    "delete entry",
    "claim",
    "trim",
    "destroy group",
    "delete stream",
    "replace stream",
    "flush scripts",
)


def meddle(client: Redis, keys: Keys, batch_id: str, model: str, *, throw: float) -> str | None:
    """Do one of `MEDDLINGS`, chosen by `throw` in [0, 1); its name, None if Redis refused it."""
    name = MEDDLINGS[int(throw * len(MEDDLINGS))]
    try:
        _do(client, name, keys.stream(batch_id, model))
    except RedisError:
        return None
    return name


def _do(client: Redis, name: str, stream: str) -> None:
    match name:
        case "ack" | "delete entry" | "claim":
            _touch_one(client, name, stream)
        case "trim":
            client.xtrim(stream, maxlen=max(int(str(client.xlen(stream))) - 3, 0))
        case "destroy group":
            client.xgroup_destroy(stream, GROUP)
        case "delete stream":
            client.delete(stream)
        case "replace stream":
            client.set(stream, "not yours")
        case "flush scripts":
            client.script_flush()


def _touch_one(client: Redis, name: str, stream: str) -> None:
    """The oldest lease, or the oldest job if there is none."""
    leases: Any = client.xpending_range(stream, GROUP, "-", "+", 1)
    entries: Any = client.xrange(stream, count=1)
    entry_id = leases[0]["message_id"] if leases else entries[0][0] if entries else b"0-0"
    if name == "ack":
        client.xack(stream, GROUP, entry_id)
    elif name == "claim":
        client.xclaim(stream, GROUP, "operator", 0, [entry_id])
    else:
        client.xdel(stream, entry_id)
