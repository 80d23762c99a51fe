"""What a run has to do, decided before anything is started.

Owns: the checks of input, output and model that need neither a server nor weights, and the question
whether anything is left to do. Must not know: Redis, the engine's running.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.config import EngineConfig
from engine.model.source import resolve_model
from engine.model_hash import model_hash
from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.errors import TargetError
from jobs.producers.jsonl import JsonlProducer, check_strictly
from jobs.producers.lines import InputFile, open_input
from jobs.producers.reuse import ReuseIndex
from jobs.run_state import RunFolder, RunKind, RunStart, open_run_folder
from jobs.sinks.target import Target, prepare_target
from worker.bad_lines import refuse_bad_lines
from worker.identity import engine_identity
from worker.names import served_names
from worker.options import engine_config
from worker.producing import producer_settings
from worker.settings import RunSettings

__all__ = ["RunPlan", "open_plan"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """One run of one file. `identity` stands for what a request's answer depends on besides the
    request; `replaced_batch_id` is the batch of an earlier run that this one does not continue.
    """

    settings: RunSettings
    target: Target
    source: InputFile
    folder: RunFolder
    start: RunStart
    config: EngineConfig
    model_hash: str
    identity: str
    names: tuple[str, ...]
    replaced_batch_id: str | None

    @property
    def batch_id(self) -> str:
        return self.start.state.batch_id

    @property
    def is_complete(self) -> bool:
        """Whether every row is there already."""
        return self.start.kind is RunKind.COMPLETE

    def producer(self) -> JsonlProducer:
        """The run's lines, with the rows that earlier runs have computed."""
        return JsonlProducer(
            self.source,
            served_models=self.names,
            known=self._known_rows(),
            settings=producer_settings(self.settings.batch),
        )

    def _known_rows(self) -> ReuseIndex | None:
        """Earlier generations first, then the results file itself: the state folder may be gone."""
        if self.settings.fresh:
            return None
        files = self.folder.earlier_parts()
        files += [path for path in self.target.final_files() if path.suffix == ".parquet"]
        return ReuseIndex(files, self.identity) if files else None


@contextmanager
def open_plan(settings: RunSettings, target: Target) -> Iterator[RunPlan]:
    """Check everything that can be checked, lock the output's state folder, decide what to do.

    Raises SettingsError, JobsError (input, output, lock), EngineError (no such model).
    """
    source = open_input(settings.file)
    config = engine_config(settings.process.model, settings.process.engine)
    names = served_names(settings.process.model)
    digest = model_hash(resolve_model(config.model.model, config.model.revision))
    identity = engine_identity(config, digest)
    prepare_target(target, settings.file)
    if target.state_folder is None:
        raise TargetError("rows that stay in Redis have no state folder")
    if settings.batch.on_bad_line == "fail":
        refuse_bad_lines(settings.file, check_strictly(source, served_models=names))
    with open_run_folder(target.state_folder) as folder:
        if settings.fresh:
            _end_left_over_server(target.state_folder)
            folder.wipe()
        earlier = folder.state
        start = folder.begin(
            input_path=settings.file.absolute(),
            input_sha256=source.sha256,
            engine_identity=f"{identity} served={','.join(sorted(names))}",
        )
        _say_what_changed(start)
        is_replaced = earlier is not None and earlier.batch_id != start.state.batch_id
        yield RunPlan(
            settings=settings,
            target=target,
            source=source,
            folder=folder,
            start=start,
            config=config,
            model_hash=digest,
            identity=identity,
            names=names,
            replaced_batch_id=earlier.batch_id if earlier is not None and is_replaced else None,
        )


def _end_left_over_server(state_folder: Path) -> None:
    """A run that was killed leaves its server behind; once its address is wiped, nobody could
    find it again.
    """
    binary = find_server_binary()
    if binary is not None and (state_folder / "server.json").exists():
        EmbeddedServer.start(state_folder, binary=binary).close()


def _say_what_changed(start: RunStart) -> None:
    if start.is_input_changed:
        _log.warning("the input has changed: rows of changed lines are computed again")
    if start.is_engine_changed:
        _log.warning("model or settings have changed: rows are computed again")
