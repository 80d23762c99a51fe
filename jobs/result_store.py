"""What a store of results offers, wherever its parts lie, and the choice by target.

Owns: this contract. Must not know: how parts are published.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from jobs.bitmap import Bitmap
from jobs.parts import Part
from jobs.sinks.target import Target, remote_state_url
from jobs.store import AppendReport, PartStore
from schemas.result import ResultRow

__all__ = ["ResultStore", "open_result_store"]


class ResultStore(Protocol):
    """The rows of one batch. What `append` took is durable; a line has at most one row."""

    batch_id: str
    done: Bitmap

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]: ...

    def append(self, rows: Sequence[ResultRow]) -> AppendReport: ...

    def read(self, part: Part, columns: list[str] | None = None) -> pa.Table: ...

    def refresh(self) -> None:
        """Learn what other writers have stored."""
        ...


def open_result_store(target: Target, folder: Path, batch_id: str) -> ResultStore:
    """The rows of a batch on their way to `target`: in the local `folder`, or next to the results
    if these are objects. Raises StoreError.
    """
    if target.url is None:
        return PartStore.open(folder, batch_id)
    from jobs.object_folder import ObjectFolder  # Arrow's file systems take time to load
    from jobs.object_store import ObjectPartStore

    state = ObjectFolder.from_url(remote_state_url(target))
    return ObjectPartStore.open(state.within(batch_id), batch_id)
