"""Redis connections that write commands with hiredis.

Owns: the connection classes. Must not know: which commands. redis-py joins the arguments of an
asyncio connection in Python, each time copying what it has so far; scripts of ours have hundreds.
"""

from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

__all__ = ["pack_with_hiredis"]


class _Packing:
    """Comes before a connection class of redis-py."""

    def pack_command(self, *arguments: Any) -> list[bytes]:
        """A command as bytes of the protocol; its name may be several words."""
        name = arguments[0].encode() if isinstance(arguments[0], str) else arguments[0]
        try:
            return [hiredis.pack_command((*name.split(), *arguments[1:]))]
        except TypeError:  # redis-py says what is wrong with the argument
            packed: list[bytes] = super().pack_command(*arguments)  # type: ignore[misc]
            return packed


class _Connection(_Packing, Connection):
    pass


class _SSLConnection(_Packing, SSLConnection):
    pass


class _UnixConnection(_Packing, UnixDomainSocketConnection):
    pass


_CLASSES = {
    Connection: _Connection,
    SSLConnection: _SSLConnection,
    UnixDomainSocketConnection: _UnixConnection,
}


def pack_with_hiredis(pool: ConnectionPool) -> None:
    """Let the pool's connections, of which there are none yet, write their commands so."""
    pool.connection_class = _CLASSES.get(pool.connection_class, pool.connection_class)
