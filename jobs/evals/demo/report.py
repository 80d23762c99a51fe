"""Accuracy per task with 95% intervals: `python -m jobs.evals.demo.report --answers a.jsonl`.

Owns: the table. Must not know: how the answers were made. Answers are lines of
`{"custom_id", "text"}` for the rows that the same `--per-task` and `--seed` give.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.evals.demo.scoring import interval, score
from jobs.evals.demo.suite import HeldOutRow, held_out_rows

__all__ = ["TaskScore", "scores"]


@dataclass(slots=True, frozen=True)
class TaskScore:
    """Rows right of all rows of a task; `low` and `high` bound the share, 0..1."""

    task: str
    num_right: int
    num_rows: int

    @property
    def share(self) -> float:
        """Share of right rows, 0..1."""
        return self.num_right / self.num_rows if self.num_rows else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Wilson's 95% interval of the share."""
        return interval(self.num_right, self.num_rows)


def scores(rows: Iterable[HeldOutRow], texts: Mapping[str, str]) -> list[TaskScore]:
    """One score per task, in the suite's order; a row without an answer is wrong."""
    counted: dict[str, list[int]] = {}
    for row in rows:
        entry = counted.setdefault(row.task, [0, 0])
        entry[0] += score(row, texts.get(row.custom_id, "")).right
        entry[1] += 1
    return [TaskScore(task, right, total) for task, (right, total) in counted.items()]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Score answers to the held-out rows.")
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--per-task", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lines = arguments.answers.read_text(encoding="utf-8").splitlines()
    texts = {entry["custom_id"]: entry["text"] for entry in map(json.loads, lines)}
    for found in scores(held_out_rows(arguments.per_task, seed=arguments.seed), texts):
        low, high = found.bounds
        print(  # noqa: T201
            f"{found.task:20} {found.share:6.1%}  [{low:.1%}, {high:.1%}]  of {found.num_rows}"
        )


if __name__ == "__main__":
    main()
