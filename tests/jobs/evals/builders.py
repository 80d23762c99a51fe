"""Rows, results and scored rows for tests."""

from typing import Any

from jobs.evals.answer import Answer
from jobs.evals.manifest import EvalManifest, fingerprints_of, rows_hash
from jobs.evals.results import RowResult
from jobs.evals.row_lines import RowDefaults, make_row
from jobs.evals.rows import EvalRow
from jobs.evals.scores import ScoredRow, score_rows


def row(**line: Any) -> EvalRow:
    """A row from a short line; without a question it gets one."""
    asking = {"body", "messages", "input", "prompt"} & set(line)
    return make_row(line if asking else {"input": "?", **line}, 1, RowDefaults())


def said(*texts: str, fingerprint: str = "fp_1", tokens: int = 3) -> RowResult:
    """What came back: one text for each sample."""
    answers = tuple(Answer(text) for text in texts)
    return RowResult(answers=answers, fingerprint=fingerprint, completion_tokens=tokens)


def scored(**texts: str | tuple[str, ...] | RowResult) -> list[ScoredRow]:
    """Rows named like the arguments, of which "yes" is the right answer. A name's part before the
    first underscore is its task.
    """
    rows = [row(id=name, task=name.partition("_")[0], target="yes") for name in texts]
    results = {}
    for name, text in texts.items():
        if isinstance(text, RowResult):
            results[name] = text
        else:
            results[name] = said(*((text,) if isinstance(text, str) else text))
    return score_rows(rows, results)


def manifest(rows: list[ScoredRow], **changes: Any) -> EvalManifest:
    facts: dict[str, Any] = {
        "suite": "letters",
        "suite_path": "letters.yaml",
        "suite_hash": "s1",
        "num_rows": len(rows),
        "samples": 1,
        "pass_at": (),
        "model": "m",
        "model_hash": "h1",
        "fingerprints": fingerprints_of(rows),
        "rows_hash": rows_hash(rows),
        "settings": {"seed": 0, "metrics_port": 1},
        "versions": {"torch": "1"},
    }
    return EvalManifest(**{**facts, **changes})
