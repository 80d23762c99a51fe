"""`eval.json`: what an evaluation was, so that it can be repeated and compared.

Owns: the file's keys, and what two manifests differ in. Must not know: how the facts came about.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from jobs.errors import InputError
from jobs.evals.score_files import as_text
from jobs.evals.scores import ScoredRow

__all__ = ["Change", "EvalManifest", "changes", "fingerprints_of", "read_manifest", "rows_hash"]

_NAME = "eval.json"
_FORMAT = 1
# Where things are and how busy the machine may be: no part in what the rows say.
_UNTOLD_SETTINGS = frozenset(
    {"host", "metrics_port", "redis", "namespace", "lease_seconds", "drain_seconds"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalManifest:
    """What was run. `fingerprints` counts the rows that each engine computed; `rows_hash` stands
    for all answers and verdicts: two evaluations with the same one say the same.
    """

    suite: str
    suite_path: str | None
    suite_hash: str
    num_rows: int
    samples: int
    pass_at: Sequence[int]
    model: str
    model_hash: str
    fingerprints: Mapping[str, int]
    rows_hash: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write `eval.json` into `folder`."""
        content = {
            "format": _FORMAT,
            "suite": {
                "name": self.suite,
                "path": self.suite_path,
                "hash": self.suite_hash,
                "rows": self.num_rows,
            },
            "samples": self.samples,
            "pass_at": list(self.pass_at),
            "model": {"name": self.model, "hash": self.model_hash},
            "fingerprints": dict(self.fingerprints),
            "rows_hash": self.rows_hash,
            "settings": dict(self.settings),
            "versions": dict(self.versions),
        }
        path = folder / _NAME
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not the same in two evaluations."""

    what: str
    before: str
    after: str


def read_manifest(folder: Path) -> EvalManifest:
    """The manifest of an evaluation. Raises InputError if `folder` has none that can be read."""
    path = folder / _NAME
    try:
        content = json.loads(path.read_bytes())
        suite, model = content["suite"], content["model"]
        return EvalManifest(
            suite=suite["name"],
            suite_path=suite["path"],
            suite_hash=suite["hash"],
            num_rows=suite["rows"],
            samples=content["samples"],
            pass_at=content["pass_at"],
            model=model["name"],
            model_hash=model["hash"],
            fingerprints=content["fingerprints"],
            rows_hash=content["rows_hash"],
            settings=content["settings"],
            versions=content["versions"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); give a folder that 'headrace eval -o' wrote"
        ) from error


def fingerprints_of(scored: Sequence[ScoredRow]) -> dict[str, int]:
    """How many rows each engine computed, most first."""
    counted = Counter(entry.result.fingerprint for entry in scored if entry.result.fingerprint)
    return dict(counted.most_common())


def rows_hash(scored: Sequence[ScoredRow]) -> str:
    """32 hex digits over every row's id, answers and verdicts, in order."""
    digest = xxhash.xxh3_128()
    for entry in scored:
        parts = [entry.row.custom_id, entry.result.error or ""]
        parts += [as_text(answer) for answer in entry.result.answers]
        parts += [str(verdict.right) for verdict in entry.verdicts]
        digest.update(("\0".join(parts) + "\1").encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def changes(before: EvalManifest, after: EvalManifest) -> list[Change]:
    """What is not the same, most telling first: suite, model, engine, settings, versions."""
    return list(_changes(before, after))


def _changes(before: EvalManifest, after: EvalManifest) -> Iterator[Change]:
    pairs: list[tuple[str, Any, Any]] = [
        ("suite", before.suite_hash, after.suite_hash),
        ("samples", before.samples, after.samples),
        ("model", before.model, after.model),
        ("model hash", before.model_hash, after.model_hash),
        ("engine fingerprint", _names(before.fingerprints), _names(after.fingerprints)),
    ]
    for name in sorted({*before.settings, *after.settings} - _UNTOLD_SETTINGS - {"model"}):
        pairs.append((f"--{name.replace('_', '-')}", *_both(before.settings, after.settings, name)))
    for name in sorted({*before.versions, *after.versions}):
        pairs.append((f"version of {name}", *_both(before.versions, after.versions, name)))
    for what, old, new in pairs:
        if old != new:
            yield Change(what, str(old), str(new))


def _both(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    return before.get(name, "not there"), after.get(name, "not there")


def _names(fingerprints: Mapping[str, int]) -> str:
    return " and ".join(sorted(fingerprints)) or "none"
