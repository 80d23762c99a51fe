"""A suite: its rows, and how they are run and counted.

A suite is a JSONL file of rows, or a short YAML file that says what they have in common and names
their file.

Owns: both files' forms, the suite's identity. Must not know: single rows (row_lines.py), scoring.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash
import yaml
from pydantic import Field, ValidationError

from jobs.errors import InputError
from jobs.evals.fields import FieldMap
from jobs.evals.row_lines import RowDefaults, make_row, read_scorer
from jobs.evals.rows import EvalRow
from schemas.strict import StrictModel

__all__ = ["Suite", "read_suite"]

_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Rows with known answers. Every row is asked `samples` times; `pass_at` are the k of pass@k
    that are told.
    """

    name: str
    rows: tuple[EvalRow, ...]
    samples: int = 1
    pass_at: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """32 hex digits over every row's id and content, in order."""
        digest = xxhash.xxh3_128()
        for row in self.rows:
            digest.update(f"{row.custom_id}\0{row.digest}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


class _SuiteFile(StrictModel):
    name: str | None = None
    description: str | None = None
    rows: str | None = None
    task: str | None = None
    tags: list[str] = Field(default_factory=list)
    scorer: str | dict[str, Any] | None = None
    system: str | None = None
    request: dict[str, Any] = Field(default_factory=dict)
    fields: dict[str, Any] | None = None
    samples: int = Field(default=1, ge=1, le=128)
    pass_at: list[int] = Field(default_factory=list)


def read_suite(path: Path) -> Suite:
    """The suite in a YAML or JSONL file. Raises InputError, naming the file and the line or key."""
    if path.suffix.lower() not in _YAML:
        rows = _rows(path, RowDefaults(), None)
        return Suite(name=path.stem, rows=_checked(rows, path))
    try:
        described = _described(path)
        name = described.name or path.stem
        defaults = RowDefaults(
            task=described.task or name,
            scorer=None if described.scorer is None else read_scorer(described.scorer),
            request=described.request,
            system=described.system,
            tags=tuple(described.tags),
        )
        fields = None if described.fields is None else FieldMap(described.fields)
    except ValueError as error:
        raise InputError(f"the suite {path}: {error}") from error
    rows_path = path.parent / (described.rows or f"{path.stem}.jsonl")
    return Suite(
        name=name,
        rows=_checked(_rows(rows_path, defaults, fields), rows_path),
        samples=described.samples,
        pass_at=tuple(sorted(set(described.pass_at))),
    )


def _described(path: Path) -> _SuiteFile:
    try:
        content = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError("it should be a mapping with 'rows', 'scorer' and so on")
    try:
        described = _SuiteFile.model_validate(content)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, found["loc"]))
        raise ValueError(f"{place!r} is {found['input']!r}: {found['msg'].lower()}") from None
    for k in described.pass_at:
        if not 1 <= k <= described.samples:
            raise ValueError(f"'pass_at' has {k}, but 'samples' is {described.samples}")
    return described


def _rows(path: Path, defaults: RowDefaults, fields: FieldMap | None) -> Iterator[EvalRow]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if fields is not None:
                if not isinstance(entry, dict):
                    raise ValueError(f"expected an object, but got {line[:60]}")
                entry = fields.apply(entry)
            yield make_row(entry, number, defaults)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number} is no row of a suite: {error}") from error


def _checked(rows: Iterator[EvalRow], path: Path) -> tuple[EvalRow, ...]:
    """All rows, each with an id of its own, and at least one."""
    found: dict[str, EvalRow] = {}
    for row in rows:
        if row.custom_id in found:
            raise InputError(f"the suite {path} has two rows with the id {row.custom_id!r}")
        found[row.custom_id] = row
    if not found:
        raise InputError(f"the suite {path} has no rows")
    return tuple(found.values())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the suite {path} cannot be read: {error}") from error
