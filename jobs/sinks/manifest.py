"""`run.json`: what a finished run was, next to its results.

Owns: the file's keys. Must not know: how the facts came about.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jobs.durable import storage_error, write_new_file
from jobs.sinks.counts import RowCounts

__all__ = ["RunFacts", "write_run_manifest"]

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What only the run knows. `settings`, `versions` and `timings` are JSON values by name;
    times of day are ISO 8601 in UTC, durations seconds.
    """

    input_path: str
    input_sha256: str
    num_lines: int | None = None
    num_reused: int | None = None
    model: str | None = None
    model_hash: str | None = None
    fingerprint: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)


def write_run_manifest(
    path: Path, *, batch_id: str, facts: RunFacts, counts: RowCounts, files: Sequence[str]
) -> None:
    """Write `path`, which must not exist. Raises StoreWriteError."""
    content = {
        "format": _FORMAT,
        "batch_id": batch_id,
        "input": {
            "path": facts.input_path,
            "sha256": facts.input_sha256,
            "lines": facts.num_lines,
        },
        "model": {
            "name": facts.model,
            "hash": facts.model_hash,
            "fingerprint": facts.fingerprint,
        },
        "settings": dict(facts.settings),
        "versions": dict(facts.versions),
        "counts": {
            "total": counts.num_rows,
            "ok": counts.num_ok,
            "failed": counts.num_failed,
            "cancelled": counts.num_cancelled,
            "expired": counts.num_expired,
            "reused": facts.num_reused,
        },
        "error_codes": dict(sorted(counts.error_codes.items())),
        "tokens": {
            name.removesuffix("_tokens"): value
            for name, value in asdict(counts).items()
            if name.endswith("_tokens")
        },
        "timings": dict(facts.timings),
        "files": list(files),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    # The bytes of a file name that are not UTF-8 came in as surrogates, which JSON can escape.
    data = text.encode("utf-8", "backslashreplace") + b"\n"
    try:
        write_new_file(path, data)
    except OSError as error:
        raise storage_error("write", path, error) from error
