"""Two evaluations of one suite, row by row.

Owns: which rows are paired, what differs, and how likely chance alone would say so. Must not know:
files, screens. Rows are paired by custom_id, and only if the row itself is the same in both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from jobs.errors import InputError
from jobs.evals.manifest import Change, EvalManifest, changes
from jobs.evals.score_files import ScoreLine
from jobs.evals.statistics import Difference, mcnemar_p, paired_difference

__all__ = ["Comparison", "GroupComparison", "PairedRow", "compare_scores"]


@dataclass(frozen=True, slots=True)
class PairedRow:
    """One row in both evaluations."""

    before: ScoreLine
    after: ScoreLine

    @property
    def change(self) -> float:
        """Of its score, -1..1."""
        return self.after.score - self.before.score

    @property
    def is_same_answer(self) -> bool:
        return self.before.answers == self.after.answers


@dataclass(frozen=True)
class GroupComparison:
    """The paired rows of one task or tag, or all of them; at least one."""

    name: str
    rows: tuple[PairedRow, ...]

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    @cached_property
    def before(self) -> float:
        return fmean(row.before.score for row in self.rows)

    @cached_property
    def after(self) -> float:
        return fmean(row.after.score for row in self.rows)

    @cached_property
    def difference(self) -> Difference:
        """By a paired bootstrap over rows."""
        return paired_difference(
            [row.before.score for row in self.rows], [row.after.score for row in self.rows]
        )

    @property
    def num_better(self) -> int:
        return sum(row.change > 0 for row in self.rows)

    @property
    def num_worse(self) -> int:
        return sum(row.change < 0 for row in self.rows)

    @property
    def is_binary(self) -> bool:
        """Whether every row is right or wrong on both sides, and nothing between."""
        return all(
            line.score in (0.0, 1.0) for row in self.rows for line in (row.before, row.after)
        )

    @property
    def p(self) -> float:
        """Two-sided: McNemar's exact test where rows are right or wrong, else the bootstrap's."""
        return mcnemar_p(self.num_worse, self.num_better) if self.is_binary else self.difference.p

    @property
    def test(self) -> str:
        """The name of the test that `p` is from."""
        return "McNemar, exact" if self.is_binary else "paired bootstrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`before` and `after`, and what became of the rows. `num_only_before`, `num_only_after` and
    `num_changed_rows` (another question or reference under the same id) are left out of the scores.
    """

    before: EvalManifest
    after: EvalManifest
    whole: GroupComparison
    tasks: tuple[GroupComparison, ...]
    tags: tuple[GroupComparison, ...]
    num_only_before: int
    num_only_after: int
    num_changed_rows: int

    @property
    def changes(self) -> list[Change]:
        """What is not the same besides the answers."""
        return changes(self.before, self.after)

    @property
    def is_other_engine(self) -> bool:
        """Whether the rows were computed by engines of different fingerprints."""
        return set(self.before.fingerprints) != set(self.after.fingerprints)

    @property
    def changed(self) -> list[PairedRow]:
        """The rows whose score is not the same: those that got worse first, in suite order."""
        found = [row for row in self.whole.rows if row.change]
        return sorted(found, key=lambda row: row.change > 0)

    @property
    def num_same_answers(self) -> int:
        return sum(row.is_same_answer for row in self.whole.rows)

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        whole, found = self.whole, self.whole.difference
        points = f"{abs(found.mean) * 100:.1f} points"
        interval = f"95% interval {found.low * 100:+.1f} to {found.high * 100:+.1f}"
        if self.num_same_answers == whole.num_rows:
            return f"All {whole.num_rows:,} rows have the same answers."
        if not whole.num_better and not whole.num_worse:
            return f"All {whole.num_rows:,} rows have the same score, with other answers."
        way = "higher" if found.mean > 0 else "lower" if found.mean < 0 else "neither way"
        said = f"B scores {points} {way} ({interval}, p = {whole.p:.3g}, {whole.test})"
        if whole.p >= 0.05:
            return f"{said}: chance alone does as much, these rows cannot tell them apart."
        return f"{said}: more than chance alone does."


def compare_scores(
    before: tuple[EvalManifest, Sequence[ScoreLine]],
    after: tuple[EvalManifest, Sequence[ScoreLine]],
) -> Comparison:
    """Pair the rows. Raises InputError if the two have no row in common."""
    (before_manifest, before_lines), (after_manifest, after_lines) = before, after
    later = {line.custom_id: line for line in after_lines}
    paired, num_changed = [], 0
    for line in before_lines:
        other = later.get(line.custom_id)
        if other is None:
            continue
        if other.row_hash != line.row_hash:
            num_changed += 1
        else:
            paired.append(PairedRow(line, other))
    if not paired:
        raise InputError(
            f"the two evaluations ({before_manifest.suite}, {after_manifest.suite}) have no row in "
            "common, so there is nothing to compare"
        )
    num_common = len(paired) + num_changed
    return Comparison(
        before=before_manifest,
        after=after_manifest,
        whole=GroupComparison("all", tuple(paired)),
        tasks=_groups((row.before.task, row) for row in paired),
        tags=tuple(
            sorted(
                _groups((tag, row) for row in paired for tag in row.after.tags),
                key=lambda group: group.name,
            )
        ),
        num_only_before=len(before_lines) - num_common,
        num_only_after=len(after_lines) - num_common,
        num_changed_rows=num_changed,
    )


def _groups(pairs: Iterable[tuple[str, PairedRow]]) -> tuple[GroupComparison, ...]:
    groups: dict[str, list[PairedRow]] = {}
    for name, row in pairs:
        groups.setdefault(name, []).append(row)
    return tuple(GroupComparison(name, tuple(rows)) for name, rows in groups.items())
