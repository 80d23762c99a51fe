import socket

import pytest

from worker.endpoint_options import HttpOptions
from worker.errors import SettingsError
from worker.serve import _listen


def test_answers_are_sent_without_delay() -> None:
    """asyncio looks at the protocol of the socket; where it is not said, each answer waits 40 ms
    for the client's acknowledgement."""
    with _listen(HttpOptions(port=0)) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with _listen(HttpOptions(port=0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--port {port}: cannot listen on 127.0.0.1"):
            _listen(HttpOptions(port=port))
