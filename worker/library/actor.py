"""An engine inside a pipeline of Ray Data.

Owns: the callable class that `Dataset.map_batches` makes actors of. Must not know: Ray; it is never
imported here. Several batches of an actor are in its engine at once, so that none of them ends with
an idle device.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import pyarrow as pa

from worker.library.engine import Engine
from worker.library.errors import HeadraceError
from worker.library.submission import RequestSettings

__all__ = ["EngineActor"]


class EngineActor:
    """Answers the rows of a dataset: `dataset.map_batches(EngineActor, batch_format="pyarrow",
    fn_constructor_kwargs={...})`. One engine for each actor.

    `engine` has the settings of `headrace.Engine`, the other keywords are those of `Engine.run`.
    With `resume`, a folder that all actors reach, and an `id_column`, rows that any actor of any
    run has computed are not computed again: neither after an actor was lost, nor when the pipeline
    is run again. A row that fails has its error in its row.
    """

    def __init__(
        self,
        model: str | Path = "demo",
        *,
        engine: Mapping[str, Any] | None = None,
        resume: str | Path | None = None,
        **settings: Unpack[RequestSettings],
    ) -> None:
        """Load the model. Raises HeadraceError."""
        if resume is not None and "id_column" not in settings:
            raise HeadraceError("resume needs id_column: rows stand elsewhere in another run")
        self._engine = Engine(model, **(engine or {}))
        self._resume = resume
        self._settings = settings

    async def __call__(self, batch: object) -> pa.Table:
        """The batch with the answers' columns. Raises HeadraceError for what concerns all rows."""
        if not isinstance(batch, pa.Table):
            kind = type(batch).__name__
            raise HeadraceError(f"this batch is a {kind}; give map_batches batch_format='pyarrow'")
        return await asyncio.to_thread(
            self._engine.run, batch, resume=self._resume, progress=False, **self._settings
        )
