"""An engine whose model is a fake, and clients of a queue that has one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.worker.doubles import fake_machine
from tests.worker.site import Site
from tests.worker.test_run import CountingExecutor
from worker import loading
from worker.connection import Connection
from worker.library import async_client
from worker.library.engine import Engine
from worker.machine import Machine


class Stage:
    """Stands in for the model. The executor counts the requests that it saw."""

    def __init__(self) -> None:
        self.executor = CountingExecutor()
        self.max_num_seqs = 8

    def load(self, _config: object, names: tuple[str, ...]) -> Machine:
        return fake_machine(
            self.executor, names=names, max_num_seqs=self.max_num_seqs, identity="fake"
        )


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    monkeypatch.setattr(loading, "load_machine", stage.load)
    return stage


@pytest.fixture
def engine(stage: Stage) -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture
def at_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Clients connect to the site's queue, whatever URL they are given."""

    @asynccontextmanager
    async def connect(*_: object, **__: object) -> AsyncIterator[Connection]:
        yield site.connection

    monkeypatch.setattr(async_client, "open_connection", connect)
    return site
