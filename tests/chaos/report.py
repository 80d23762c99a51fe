"""What a chaos run says: one row for each scenario, for people or as JSON.

Owns: both forms. Must not know: how the numbers came about.
"""

import json
from collections.abc import Sequence

from tests.chaos.supervisor import Outcome

__all__ = ["HEADER", "as_json", "as_row", "explain"]

_WIDTHS = (38, 15, 6, 6, 7, 5, 5, 5, 5, 5, 7, 7, 6, 9, 5, 8)
_NAMES = (
    *("scenario", "server", "jobs", "s", "faults", "lost", "dup", "row", "count", "order"),
    *("again", "fenced", "gone", "reclaimed", "dead", ""),
)


def _line(cells: Sequence[object]) -> str:
    texts = [str(cell) for cell in cells]
    padded = [texts[0].ljust(_WIDTHS[0]), texts[1].ljust(_WIDTHS[1])]
    padded += [text.rjust(width) for text, width in zip(texts[2:], _WIDTHS[2:], strict=True)]
    return " ".join(padded).rstrip()


HEADER = _line(_NAMES)


def as_row(outcome: Outcome) -> str:
    """One line of the table under `HEADER`."""
    findings, counters = outcome.findings, outcome.counters
    return _line(
        (
            outcome.scenario.name,
            outcome.server,
            outcome.scenario.workload.num_lines,
            f"{outcome.seconds:.1f}",
            sum(outcome.faults.values()),
            findings.lost,
            findings.duplicated,
            findings.wrong_rows,
            findings.wrong_counters,
            findings.wrong_order,
            findings.num_redelivered,
            counters.get("fenced", 0),
            counters.get("gone", 0),
            counters.get("reclaimed", 0),
            counters.get("dead", 0),
            _verdict(outcome),
        )
    )


def _verdict(outcome: Outcome) -> str:
    if outcome.scenario.must_fail:
        return "caught" if outcome.is_as_it_must_be else "MISSED"
    if not outcome.is_finished:
        return "HANGS"
    return "ok" if outcome.is_as_it_must_be else "FAILED"


def as_json(outcome: Outcome) -> str:
    """One line of JSON with everything that was counted."""
    findings = outcome.findings
    return json.dumps(
        {
            "scenario": outcome.scenario.name,
            "server": outcome.server,
            "seed": outcome.seed,
            "jobs": outcome.scenario.workload.num_lines,
            "seconds": round(outcome.seconds, 1),
            "finished": outcome.is_finished,
            "lost": findings.lost,
            "duplicated": findings.duplicated,
            "wrong_rows": findings.wrong_rows,
            "wrong_counters": findings.wrong_counters,
            "wrong_order": findings.wrong_order,
            "rows": findings.num_rows,
            "rows_ended_early": findings.num_early,
            "rows_on_a_later_attempt": findings.num_redelivered,
            "faults": dict(outcome.faults),
            "counters": dict(outcome.counters),
            "notes": findings.notes,
            "verdict": _verdict(outcome),
        }
    )


def explain(outcome: Outcome) -> str:
    """What was wrong, for people."""
    return "".join(f"    {note}\n" for note in outcome.findings.notes)
