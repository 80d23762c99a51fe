"""The count: what the files and the counters say, against what must be.

Owns: every number that must be zero. Must not know: how the rows came about. It trusts nothing but
the newest manifest and the parts it names, the final files, and Redis' own counters.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from redis import Redis

from jobs.keys import Keys
from jobs.manifests import ManifestLog
from jobs.parts import read_part
from jobs.queue import BatchStatus
from jobs.result_table import rows_to_table, table_to_rows
from jobs.sinks.counts import RowCounts
from jobs.sinks.final import write_final_files
from jobs.sinks.manifest import RunFacts
from jobs.sinks.target import parse_target
from jobs.store import PartStore
from jobs.wire import decode_status
from schemas.result import ResultRow
from tests.chaos.lines import Expected

__all__ = ["Findings", "check_files", "check_queue", "rows_of"]

_LOST_CODES = {"job_lost"}
_GIVEN_UP = "max_deliveries_exceeded"
_ENDED_EARLY = {"batch_cancelled", "batch_expired"}
_MAX_NOTES = 12


@dataclass(slots=True)
class Findings:
    """What was found. The first five must be 0; `notes` says what they are made of."""

    lost: int = 0
    duplicated: int = 0
    wrong_rows: int = 0
    wrong_counters: int = 0
    wrong_order: int = 0
    num_rows: int = 0
    num_early: int = 0
    num_redelivered: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (
            self.lost
            or self.duplicated
            or self.wrong_rows
            or self.wrong_counters
            or self.wrong_order
        )

    def note(self, text: str) -> None:
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(text)

    def expect(self, what: str, found: object, wanted: object) -> None:
        """One counter that must have one value."""
        if found != wanted:
            self.wrong_counters += 1
            self.note(f"{what} is {found}, not {wanted}")


def batch_of(parts: Path) -> str:
    """The batch whose parts these are, as the newest manifest says; "" without one."""
    for path in sorted(parts.glob("manifest.*.json"), reverse=True):
        if data := path.read_bytes():
            return str(json.loads(data)["batch_id"])
    return ""


def rows_of(parts: Path) -> list[ResultRow]:
    """Every row that the newest manifest vouches for, also several of one line."""
    rows: list[ResultRow] = []
    for part in ManifestLog(parts, batch_of(parts)).newest().manifest.parts:
        rows += table_to_rows(read_part(parts, part))
    return rows


def check_files(
    rows: Sequence[ResultRow],
    expected: Sequence[Expected],
    parts: Path,
    output: Path,
    *,
    may_end_early: bool,
) -> Findings:
    """Compare the stored rows, and the final files made of them, with what must be there."""
    findings = Findings(num_rows=len(rows))
    times = Counter(row.idx for row in rows)
    findings.duplicated = sum(count - 1 for count in times.values())
    missing = [idx for idx in range(len(expected)) if not times[idx]]
    findings.lost = len(missing)
    if missing:
        findings.note(f"no row for {missing[:5]}...")
    for row in rows:
        _check_row(findings, row, expected, may_end_early=may_end_early)
        findings.num_redelivered += row.attempt > 1
    if not findings.duplicated:
        _check_order(findings, parts, output, num_rows=len(rows))
    return findings


def _check_row(
    findings: Findings, row: ResultRow, expected: Sequence[Expected], *, may_end_early: bool
) -> None:
    if not 0 <= row.idx < len(expected):
        findings.wrong_rows += 1
        findings.note(f"a row for line {row.idx}, which there is not")
        return
    right = expected[row.idx]
    problem = None
    if row.custom_id != right.custom_id:
        problem = f"custom_id {row.custom_id}"
    elif row.error_code in _LOST_CODES:
        findings.lost += 1
        findings.note(f"line {row.idx} ended as {row.error_code}")
    elif row.error_code in _ENDED_EARLY:
        findings.num_early += 1
        problem = None if may_end_early else f"ended as {row.error_code}"
    elif row.status_code != right.status_code:
        problem = f"status {row.status_code} ({row.error_code}), not {right.status_code}"
    elif right.is_poison and row.error_code != _GIVEN_UP:
        problem = f"poison ended as {row.error_code}"
    elif row.status_code == 200 and right.text is not None and row.content != right.text:
        problem = f"text {row.content!r:.40}, not {right.text!r:.40} (attempt {row.attempt})"
    if problem is not None:
        findings.wrong_rows += 1
        findings.note(f"line {row.idx}: {problem}")


def _check_order(findings: Findings, parts: Path, output: Path, *, num_rows: int) -> None:
    """The final files in input order: idx in Parquet, line numbers in the custom ids of JSONL."""
    store = PartStore.open(parts, batch_of(parts))
    facts = RunFacts(input_path="in.jsonl", input_sha256="")
    write_final_files(parse_target(f"{output}/"), store, facts=facts)
    indexes = pq.read_table(output / "results.parquet").column("idx").to_pylist()
    findings.wrong_order += _inversions(indexes)
    num_lines = 0
    for name in ("output.jsonl", "errors.jsonl"):
        path = output / name
        if path.exists():
            # Not splitlines: answers hold every character, also those that end lines elsewhere.
            lines = path.read_bytes().split(b"\n")
            ids = [json.loads(line)["custom_id"] for line in lines if line]
            numbers = [int(each.removeprefix("row-")) for each in ids if each is not None]
            findings.wrong_order += _inversions(numbers)
            num_lines += len(ids)
    if not len(indexes) == num_lines == num_rows:
        findings.wrong_order += 1
        findings.note(f"{num_rows} rows, but {len(indexes)} in Parquet and {num_lines} in JSONL")


def _inversions(numbers: Sequence[int]) -> int:
    return sum(later <= earlier for earlier, later in pairwise(numbers))


def check_queue(
    findings: Findings,
    client: Redis,
    keys: Keys,
    batch_id: str,
    rows: Sequence[ResultRow],
    *,
    state: str,
) -> dict[str, int]:
    """Compare Redis' counters with the rows; what else it counted in the namespace."""
    fields: Any = client.hgetall(keys.batch(batch_id))
    outbox: Any = client.xlen(keys.outbox(batch_id))
    status = decode_status(batch_id, fields, num_outbox=int(outbox))
    if status is None:
        findings.wrong_counters += 1
        findings.note("Redis does not know the batch")
    else:
        _check_status(findings, status, rows, state=state)
        marked: Any = client.bitcount(keys.bitmap(batch_id))
        findings.expect("lines marked", marked, status.total)
    backlog: Any = client.hgetall(keys.backlog)
    for name, value in backlog.items():
        findings.expect(f"backlog {name.decode()}", int(value), 0)
    findings.expect("active batches", client.scard(keys.active), 0)
    counted: Any = client.hgetall(keys.stat)
    return {name.decode(): int(value) for name, value in counted.items()}


def _check_status(
    findings: Findings, status: BatchStatus, rows: Sequence[ResultRow], *, state: str
) -> None:
    counts = RowCounts()
    counts.add(rows_to_table(rows))
    findings.expect("state", status.state.value, state)
    findings.expect("total", status.total, len({row.idx for row in rows}))
    findings.expect("ok", status.num_ok, counts.num_ok)
    findings.expect("err", status.num_err, counts.num_failed)
    findings.expect("cancelled", status.num_cancelled, counts.num_cancelled)
    findings.expect("expired", status.num_expired, counts.num_expired)
    findings.expect("rows in the outbox", status.num_outbox, 0)
