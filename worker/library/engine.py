"""An engine in this process, for scripts and notebooks.

Owns: the life of the engine and of the thread that its loop runs in, and what a call is made of.
Must not know: queues, Redis, how requests are run (worker/local_jobs.py). torch is imported when an
engine is made, not before.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import pyarrow as pa

from engine.threads import let_waiting_threads_sleep
from jobs.bodies import LARGEST_BYTES
from jobs.producers.classify import LineSettings
from jobs.producers.windows import ProducerSettings
from worker.library.errors import HeadraceError, clear_errors
from worker.library.portal import Portal
from worker.library.progress import open_progress
from worker.library.request_lines import RequestItem
from worker.library.result_stream import AsyncResults
from worker.library.results import Results
from worker.library.row_source import RowSource
from worker.library.settings import EngineSettings, engine_options
from worker.library.submission import RequestSettings, Submission, submit
from worker.names import served_names
from worker.options import engine_config

if TYPE_CHECKING:
    from worker.library.checkpoint import Checkpoint
    from worker.machine import Machine

__all__ = ["Engine"]

_NO_QUEUE_TO_FIT = ProducerSettings(lines=LineSettings(max_body_bytes=LARGEST_BYTES))


class Engine:
    """A loaded model that answers calls of this process.

    `model` is a checkpoint folder, a hub id, or "demo", a tiny built-in model. The settings are the
    flags of `headrace run` with the same names. Several threads may call it at once: their requests
    run together. Close it, or use `with`, to free the memory; it ends with the process otherwise.
    """

    def __init__(self, model: str | Path = "demo", **settings: Unpack[EngineSettings]) -> None:
        """Load the model, which takes seconds. Raises HeadraceError."""
        with clear_errors():
            model_options, own_options = engine_options(model, settings)
            config = engine_config(model_options, own_options)
            let_waiting_threads_sleep()
            from worker import loading
            from worker.metrics import WorkerMetrics

            self._machine = loading.load_machine(config, served_names(model_options))
        self._metrics = WorkerMetrics(self.model)
        self._portal = Portal("headrace-engine-calls", last=self._machine.engine.close)
        self._checkpoints: dict[Path, Checkpoint] = {}
        self._lock = threading.Lock()
        self._portal.call(_start(self._machine))

    @property
    def model(self) -> str:
        """The name under which it answers."""
        return self._machine.names[0]

    @property
    def fingerprint(self) -> str:
        """What computes: model, dtype, device, threads, instruction set and versions, as one hash;
        the same as in the rows.
        """
        return self._machine.fingerprint

    def run(
        self,
        data: Iterable[RequestItem] | Any,
        *,
        resume: str | Path | None = None,
        progress: bool | None = None,
        **settings: Unpack[RequestSettings],
    ) -> pa.Table:
        """Answer every row and return the answers in input order; see `stream`."""
        return self.stream(data, resume=resume, progress=progress, **settings).table()

    def stream(
        self,
        data: Iterable[RequestItem] | Any,
        *,
        resume: str | Path | None = None,
        progress: bool | None = None,
        **settings: Unpack[RequestSettings],
    ) -> Results:
        """The answers as they are finished, as Arrow record batches.

        `data` is a table (anything with the Arrow PyCapsule interface: pyarrow, pandas, polars,
        duckdb...) or requests: texts, bodies as OpenAI has them, or lines of a batch file.
        `resume` is a folder that keeps computed rows: the same rows are not computed again by a
        later call, in this or another process. `progress`: None shows a bar in notebooks and
        terminals. A row that fails has its error in its row. Raises HeadraceError if the call as a
        whole cannot be made.
        """
        if self._portal.is_closed:
            raise HeadraceError("the engine is closed; make a new one")
        with clear_errors():
            submission = submit(data, {**settings, "model": self.model})
            try:
                stream = self._stream(submission, resume)
            except BaseException:
                submission.remove()
                raise
        return Results(stream, self._portal, open_progress(progress))

    def close(self) -> None:
        """Free the engine; calls that are under way fail. May be called again."""
        self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _stream(self, submission: Submission, resume: str | Path | None) -> AsyncResults:
        from worker.library.checkpoint import KeptRows
        from worker.local_jobs import LocalJobs

        machine, kept = self._machine, None
        if resume is not None:
            kept = self._checkpoint(Path(resume).absolute())
        producer = submission.producer(
            served_models=machine.names, known=kept, settings=_NO_QUEUE_TO_FIT
        )
        if kept is None:
            rows: RowSource = LocalJobs(machine, self._metrics, producer)
        else:
            jobs = LocalJobs(machine, self._metrics, producer, on_computed=kept.add)
            rows = KeptRows(jobs, kept)
        return AsyncResults(
            rows, submission.columns, on_close=submission.remove, total=submission.num_rows
        )

    def _checkpoint(self, folder: Path) -> "Checkpoint":
        """The rows kept in a folder; each is opened once."""
        from worker.library.checkpoint import Checkpoint

        with self._lock:
            if folder not in self._checkpoints:
                identity = self._machine.translator.identity
                self._checkpoints[folder] = Checkpoint(folder, identity)
            checkpoint = self._checkpoints[folder]
        checkpoint.refresh()
        return checkpoint


async def _start(machine: "Machine") -> None:
    machine.engine.start()
