"""Commands written with hiredis are the bytes that redis-py would write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import DataError

from jobs.packing import _Connection
from jobs.server import another_client, connect

ARGUMENTS = st.lists(
    st.one_of(st.binary(max_size=9000), st.text(max_size=40), st.integers(), st.just(1.5)),
    max_size=30,
)


@given(st.sampled_from(["SET", "CONFIG GET", b"EVALSHA", b"XINFO STREAM"]), ARGUMENTS)
def test_the_bytes_are_redis_pys(name: str | bytes, arguments: list[bytes | str | int]) -> None:
    expected = b"".join(Connection().pack_command(name, *arguments))
    assert b"".join(_Connection().pack_command(name, *arguments)) == expected


@pytest.mark.parametrize("argument", [None, True, [1], object()])
def test_what_cannot_be_sent_is_refused_as_redis_py_does(argument: object) -> None:
    with pytest.raises(DataError):
        _Connection().pack_command("SET", "key", argument)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://localhost:1", Connection),
        ("rediss://localhost:1", SSLConnection),
        ("unix:///tmp/none", UnixDomainSocketConnection),
    ],
)
def test_every_kind_of_connection_writes_so(url: str, kind: type) -> None:
    client = connect(url)
    for each in (client, another_client(client)):
        made = each.connection_pool.connection_class
        assert issubclass(made, kind)
        assert made is not kind
