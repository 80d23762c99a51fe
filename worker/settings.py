"""What each command was asked to do, as one object.

Owns: the bundles that commands pass on. Must not know: flags' names, defaults (options.py has
both).
"""

from dataclasses import dataclass
from pathlib import Path

from worker.options import (
    BatchOptions,
    EngineOptions,
    ModelOptions,
    QueueOptions,
    ServiceOptions,
)
from worker.table_options import TableSettings

__all__ = ["EnqueueSettings", "ResultsSettings", "RunSettings", "ServiceSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """A process that runs jobs: which model, how, from which queue; where large requests lie."""

    model: ModelOptions
    engine: EngineOptions
    queue: QueueOptions
    service: ServiceOptions
    blobs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """`headrace run`: one file, one output, everything in one process. `resume_command` is what
    its user has to type to go on after an interruption. `known_results` are Parquet files of
    results whose rows need not be computed again; `table` is set if the file is one.
    """

    file: Path
    output: str
    fresh: bool
    batch: BatchOptions
    process: ServiceSettings
    resume_command: str
    known_results: tuple[Path, ...] = ()
    table: TableSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueSettings:
    """`headrace enqueue`: one file into a queue that others work off."""

    file: Path
    output: str | None
    wait: bool
    batch_id: str | None
    batch: BatchOptions
    queue: QueueOptions
    resume_command: str
    blobs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsSettings:
    """`headrace results`: the rows of one batch into files."""

    batch_id: str
    output: str
    queue: QueueOptions
    resume_command: str
