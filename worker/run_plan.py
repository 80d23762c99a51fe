"""What a run has to do, decided before anything is started.

Owns: the checks of input, output and model that need neither a server nor weights, and the question
whether anything is left to do. Must not know: Redis, the engine's running.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.config import EngineConfig
from engine.model.source import resolve_model
from engine.model_hash import model_hash
from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.errors import TargetError
from jobs.producers.reuse import ReuseIndex
from jobs.run_state import RunFolder, RunKind, RunStart, open_run_folder
from jobs.sinks.remote import EarlierResults
from jobs.sinks.target import Target, prepare_target
from worker.bad_lines import refuse_bad_lines
from worker.identity import engine_identity
from worker.names import served_names
from worker.options import BatchOptions, engine_config
from worker.producing import producer_settings
from worker.run_input import BatchFile, RunInput, RunProducer
from worker.settings import RunSettings

__all__ = ["RunPlan", "open_plan"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """One run of one file. `identity` stands for what a request's answer depends on besides the
    request; `replaced_batch_id` is the batch of an earlier run that this one does not continue;
    `earlier` what such runs left in an object store.
    """

    settings: RunSettings
    target: Target
    source: RunInput
    folder: RunFolder
    start: RunStart
    config: EngineConfig
    model_hash: str
    identity: str
    names: tuple[str, ...]
    replaced_batch_id: str | None
    earlier: EarlierResults | None

    @property
    def batch_id(self) -> str:
        return self.start.state.batch_id

    @property
    def bodies_place(self) -> str | None:
        """Where large requests lie; None if nowhere: workers elsewhere cannot read our folder."""
        process = self.settings.process
        if process.blobs is None and process.queue.redis is None:
            return str(self._own_bodies)
        return process.blobs

    @property
    def _own_bodies(self) -> Path:
        return self.folder.folder / "bodies"

    @property
    def is_complete(self) -> bool:
        """Whether every row is there already."""
        return self.start.kind is RunKind.COMPLETE

    def producer(self) -> RunProducer:
        """The run's lines, with the rows that earlier runs have computed."""
        return self.source.producer(
            served_models=self.names,
            known=self._known_rows(),
            settings=producer_settings(
                self.settings.batch, takes_large=self.bodies_place is not None
            ),
        )

    def complete(self, *, num_retryable: int) -> None:
        """The final files are in place: drop what earlier runs left. Raises StoreWriteError."""
        self.folder.complete(num_retryable=num_retryable)
        shutil.rmtree(self._own_bodies, ignore_errors=True)
        if self.earlier is not None:
            self.earlier.remove()

    def _known_rows(self) -> ReuseIndex | None:
        """Earlier generations first, then the results file itself: the state folder may be gone."""
        if self.settings.fresh:
            return None
        if self.earlier is not None:
            files = self.earlier.fetch(self.folder.folder / "earlier")
        else:
            files = self.folder.earlier_parts()
            files += [path for path in self.target.final_files() if path.suffix == ".parquet"]
        files += self.settings.known_results
        return ReuseIndex(files, self.identity) if files else None


@contextmanager
def open_plan(settings: RunSettings, target: Target) -> Iterator[RunPlan]:
    """Check everything that can be checked, lock the output's state folder, decide what to do.

    Raises SettingsError, JobsError (input, output, lock), EngineError (no such model).
    """
    config = engine_config(settings.process.model, settings.process.engine)
    names = served_names(settings.process.model)
    source = _open_input(settings, names)
    digest = model_hash(resolve_model(config.model.model, config.model.revision))
    identity = engine_identity(config, digest)
    source.check_target(target)
    prepare_target(target, source.path)
    if target.state_folder is None:
        raise TargetError("rows that stay in Redis have no state folder")
    if settings.batch.on_bad_line == "fail":
        refuse_bad_lines(source.name, source.bad_lines(names))
    with open_run_folder(target.state_folder) as folder:
        if settings.fresh:
            _end_left_over_server(target.state_folder)
            folder.wipe()
        earlier = folder.state
        start = folder.begin(
            input_path=source.name if source.path is None else source.path.absolute(),
            input_sha256=source.sha256,
            engine_identity=_identity(identity, names, settings.batch),
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
            earlier=EarlierResults(target, start.state.batch_id) if target.url else None,
        )


def _open_input(settings: RunSettings, names: tuple[str, ...]) -> RunInput:
    if settings.table is None:
        return BatchFile(settings.file)
    from worker.table_input import TableInput  # what tables need takes time to load

    return TableInput(settings.table, model=names[0])


def _identity(engine: str, names: Sequence[str], batch: BatchOptions) -> str:
    """What a batch must have in common with its continuation: the order of its lines, and which of
    them are refused.
    """
    parts = [engine, f"served={','.join(sorted(names))}"]
    if batch.dedupe:
        parts.append("dedupe")
    if batch.on_unknown_parameter == "ignore":
        parts.append("ignores-unknown")
    return " ".join(parts)


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
