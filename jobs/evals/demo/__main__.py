"""Writes the held-out rows to a file: `python -m jobs.evals.demo --out rows.jsonl`.

Owns: the file's form (a suite file). Must not know: the model.
"""

import argparse
from pathlib import Path

from jobs.evals.demo.suite import held_out_rows
from jobs.evals.rows import suite_line


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Write the demo model's held-out rows.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-task", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with arguments.out.open("w", encoding="utf-8") as file:
        for row in held_out_rows(arguments.per_task, seed=arguments.seed):
            file.write(suite_line(row) + "\n")


if __name__ == "__main__":
    main()
