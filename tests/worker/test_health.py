import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from worker.errors import SettingsError
from worker.health import HealthServer


class Probes:
    def __init__(self) -> None:
        self.health: str | None = None
        self.ready: str | None = "loading the model"


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
def server(probes: Probes) -> Iterator[HealthServer]:
    registry = CollectorRegistry()
    Counter("headrace:things", "Things.", registry=registry).inc(3)
    server = HealthServer(
        registry,
        health=lambda: probes.health,
        ready=lambda: probes.ready,
        host="127.0.0.1",
        port=0,
    )
    yield server
    server.close()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{server.port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_are_served(server: HealthServer) -> None:
    status, text = get(server, "/metrics")
    assert status == 200
    assert "headrace:things_total 3.0" in text


def test_probes_answer_503_with_the_reason_until_all_is_well(
    server: HealthServer, probes: Probes
) -> None:
    assert get(server, "/ready") == (503, "loading the model\n")
    assert get(server, "/health") == (200, "ok\n")
    probes.ready, probes.health = None, "the engine hangs"
    assert get(server, "/ready") == (200, "ok\n")
    assert get(server, "/health") == (503, "the engine hangs\n")


def test_another_path_is_not_found(server: HealthServer) -> None:
    assert get(server, "/nothing")[0] == 404


def test_a_port_in_use_is_a_settings_error(server: HealthServer) -> None:
    with pytest.raises(SettingsError, match="--metrics-port"):
        HealthServer(
            CollectorRegistry(),
            health=lambda: None,
            ready=lambda: None,
            host="127.0.0.1",
            port=server.port,
        )


def test_an_address_of_version_6_is_an_address(probes: Probes) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    server = HealthServer(
        CollectorRegistry(),
        health=lambda: probes.health,
        ready=lambda: probes.ready,
        host="::1",
        port=0,
    )
    with urllib.request.urlopen(f"http://[::1]:{server.port}/health", timeout=10) as reply:
        assert reply.read() == b"ok\n"
    server.close()
