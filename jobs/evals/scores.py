"""From answers to scores: a verdict per sample, a score per row, a mean per group of rows.

Owns: how verdicts are counted. Must not know: files, screens.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from jobs.evals.answer import Answer, Verdict
from jobs.evals.results import RowResult
from jobs.evals.rows import EvalRow
from jobs.evals.scoring import score
from jobs.evals.statistics import bootstrap_interval, pass_at_k

__all__ = ["Estimate", "GroupScore", "ScoredRow", "group_scores", "score_rows", "tag_scores"]

_NO_RESULT = RowResult(error="no result")


@dataclass(slots=True, frozen=True)
class ScoredRow:
    """A row, what came back for it, and a verdict on each of its samples (one if it failed)."""

    row: EvalRow
    result: RowResult
    verdicts: tuple[Verdict, ...]

    @property
    def num_right(self) -> int:
        return sum(verdict.right for verdict in self.verdicts)

    @property
    def score(self) -> float:
        """The share of its samples that are right."""
        return self.num_right / len(self.verdicts)

    @property
    def reason(self) -> str:
        """Why the first wrong sample is wrong; "" if none is."""
        return next((verdict.reason for verdict in self.verdicts if not verdict.right), "")

    @property
    def shown(self) -> Answer | None:
        """The answer that `reason` is about, or the first; None if the row failed."""
        pairs = zip(self.result.answers, self.verdicts, strict=False)
        wrong = (answer for answer, verdict in pairs if not verdict.right)
        return next(wrong, self.result.answers[0] if self.result.answers else None)

    def pass_at(self, k: int) -> float:
        """The chance that one of k samples is right. Samples of a greedy row are all the same."""
        return pass_at_k(len(self.verdicts), self.num_right, min(k, len(self.verdicts)))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over rows, 0..1, with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> "Estimate":
        """Of one number for each row, at least one."""
        return cls(fmean(scores), *bootstrap_interval(scores))


@dataclass(frozen=True)
class GroupScore:
    """The rows of one task, or with one tag."""

    name: str
    rows: tuple[ScoredRow, ...]

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    @property
    def num_right(self) -> int:
        """Rows of which every sample is right."""
        return sum(entry.num_right == len(entry.verdicts) for entry in self.rows)

    @property
    def num_failed(self) -> int:
        """Rows without an answer; they count as wrong."""
        return sum(entry.result.error is not None for entry in self.rows)

    @cached_property
    def share(self) -> Estimate:
        """The mean of the rows' scores."""
        return Estimate.of([entry.score for entry in self.rows])

    def pass_at(self, k: int) -> Estimate:
        """The mean of the rows' pass@k."""
        return Estimate.of([entry.pass_at(k) for entry in self.rows])


def score_rows(rows: Iterable[EvalRow], results: Mapping[str, RowResult]) -> list[ScoredRow]:
    """A verdict for every sample, in the rows' order; a row without an answer is wrong."""
    return [_scored(row, results.get(row.custom_id, _NO_RESULT)) for row in rows]


def group_scores(scored: Iterable[ScoredRow]) -> list[GroupScore]:
    """One score per task, in the order of first appearance."""
    return _grouped((entry.row.task, entry) for entry in scored)


def tag_scores(scored: Iterable[ScoredRow]) -> list[GroupScore]:
    """One score per tag, in alphabetical order."""
    found = _grouped((tag, entry) for entry in scored for tag in entry.row.tags)
    return sorted(found, key=lambda group: group.name)


def _scored(row: EvalRow, result: RowResult) -> ScoredRow:
    if result.error is not None:
        return ScoredRow(row, result, (Verdict(right=False, reason=result.error),))
    return ScoredRow(row, result, tuple(score(row, answer) for answer in result.answers))


def _grouped(pairs: Iterator[tuple[str, ScoredRow]]) -> list[GroupScore]:
    groups: dict[str, list[ScoredRow]] = {}
    for name, entry in pairs:
        groups.setdefault(name, []).append(entry)
    return [GroupScore(name, tuple(entries)) for name, entries in groups.items()]
