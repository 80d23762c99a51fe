"""Rows, lines and an in-memory queue for the tests of jobs/."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.queue import BatchState, BatchStatus, EnqueueReply, FinishedRow, NewJob, OutboxEntry
from schemas.result import ResultRow


def make_row(idx: int, **cells: Any) -> ResultRow:
    """A good row whose every cell can be told apart from its neighbours'."""
    defaults: dict[str, Any] = {
        "custom_id": f"request-{idx}",
        "status_code": 200,
        "content": f"answer {idx}",
        "request_hash": f"{idx:032x}",
        "response_json": json.dumps({"id": f"chatcmpl-{idx}"}),
    }
    return ResultRow(idx=idx, **(defaults | cells))


def make_line(number: int, **changes: Any) -> bytes:
    """An input line, without its line end. `body` entries are given as keyword arguments of
    `body`; None removes a key."""
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": f"question {number}"}],
    } | changes.pop("body", {})
    line = {
        "custom_id": f"request-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {key: value for key, value in body.items() if value is not None},
    } | changes
    kept = {key: value for key, value in line.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False).encode()


def write_lines(path: Path, lines: Iterable[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@dataclass
class FakeQueue:
    """The producer's and the sink's side of one batch."""

    batch_id: str = "batch_a"
    state: BatchState = BatchState.IN_PROGRESS
    max_items: int | None = None
    total: int | None = None
    items: list[NewJob | FinishedRow] = field(default_factory=list)
    outbox: list[OutboxEntry] = field(default_factory=list)
    num_enqueues: int = 0
    num_reads: int = 0

    async def status(self, batch_id: str) -> BatchStatus | None:
        if batch_id != self.batch_id:
            return None
        return BatchStatus(
            batch_id=batch_id,
            state=self.state,
            total=self.total,
            num_enqueued=len(self.items),
            num_ok=0,
            num_err=0,
            num_cancelled=0,
            num_expired=0,
            num_outbox=len(self.outbox),
            tenant="default",
            sink="client",
            created_at_ms=0,
            expires_at_ms=None,
        )

    async def enqueue(
        self,
        batch_id: str,
        position: int,
        items: Sequence[NewJob | FinishedRow],
        *,
        is_final: bool,
    ) -> EnqueueReply:
        assert batch_id == self.batch_id
        self.num_enqueues += 1
        at = len(self.items)
        if self.state is not BatchState.IN_PROGRESS:
            return EnqueueReply(accepted=False, position=at, state=self.state)
        if position != at:
            return EnqueueReply(accepted=False, position=at)
        if self.max_items is not None and at + len(items) > self.max_items and items:
            return EnqueueReply(accepted=False, position=at, is_full=True)
        self.items += items
        if is_final:
            self.total = len(self.items)
        return EnqueueReply(accepted=True, position=len(self.items))

    async def read_outbox(self, batch_id: str, count: int) -> list[OutboxEntry]:
        assert batch_id == self.batch_id
        self.num_reads += 1
        return self.outbox[:count]

    async def delete_outbox(self, batch_id: str, entry_ids: Sequence[str]) -> None:
        assert batch_id == self.batch_id
        gone = set(entry_ids)
        self.outbox = [entry for entry in self.outbox if entry.entry_id not in gone]
