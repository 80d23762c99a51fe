"""What a run reads: a file of requests, or a table.

Owns: what a run needs to know of either, and the file of requests. Must not know: queues, engines.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from jobs.producers.fanout import Producer
from jobs.producers.jsonl import JsonlProducer, LineError, check_strictly
from jobs.producers.lines import InputFile, LineCounts, count_lines, open_input
from jobs.producers.windows import KnownRows, ProducerReport, ProducerSettings
from jobs.sinks.final import MakeWriter
from jobs.sinks.target import Target

__all__ = ["BatchFile", "RunInput", "RunProducer"]


class RunProducer(Producer, Protocol):
    """A producer that counts what it gives."""

    @property
    def report(self) -> ProducerReport: ...


class RunInput(Protocol):
    """An input that was opened and checked. `name` is what its user calls it, `path` where it is
    if that is on this machine; `sha256` stands for what is run. Methods block.
    """

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path | None: ...

    @property
    def sha256(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the run writes down about how it read the input, as JSON values."""
        ...

    @property
    def make_writer(self) -> MakeWriter | None:
        """The output's own writer, where it is not that of results."""
        ...

    def check_target(self, target: Target) -> None:
        """Raises SettingsError, TargetError if the output cannot be `target`."""
        ...

    def count(self) -> LineCounts:
        """Raises InputError."""
        ...

    def bad_lines(self, served_models: Collection[str]) -> list[LineError]:
        """What the strict policy refuses. Raises InputError."""
        ...

    def producer(
        self,
        *,
        served_models: Collection[str],
        known: KnownRows | None,
        settings: ProducerSettings,
    ) -> RunProducer: ...


class BatchFile:
    """A file of requests (RunInput)."""

    make_writer: MakeWriter | None = None

    def __init__(self, path: Path) -> None:
        """Raises InputError."""
        self.name = str(path)
        self.settings: Mapping[str, Any] = {}
        self._source: InputFile = open_input(path)

    @property
    def path(self) -> Path:
        return self._source.path

    @property
    def sha256(self) -> str:
        return self._source.sha256

    def check_target(self, target: Target) -> None:
        """Any will do."""

    def count(self) -> LineCounts:
        return count_lines(self._source)

    def bad_lines(self, served_models: Collection[str]) -> list[LineError]:
        return check_strictly(self._source, served_models=served_models)

    def producer(
        self,
        *,
        served_models: Collection[str],
        known: KnownRows | None,
        settings: ProducerSettings,
    ) -> JsonlProducer:
        return JsonlProducer(
            self._source, served_models=served_models, known=known, settings=settings
        )
