"""Numbers in texts.

Owns: finding a number in an answer and comparing it. Must not know: where the texts come from.
"""

from decimal import Decimal, InvalidOperation

import regex

from jobs.evals.answer import Answer
from jobs.evals.rows import EvalRow
from jobs.evals.scorers.text import judged

__all__ = ["check_number", "number_of", "numeric"]

# 1,234.5  -3  .5  6e-7; a minus sign counts where it is not a hyphen or a subtraction.
_NUMBER = regex.compile(
    r"(?:(?<![\w.)\]])[-+\u2212])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?"
    r"|(?<![\w.)\]])[-+\u2212]?\.\d+(?:[eE][-+]?\d+)?"
)


def check_number(row: EvalRow) -> None:
    """The reference holds a number."""
    if number_of(str(row.reference.get("number"))) is None:
        raise ValueError(f"the target {row.reference.get('number')!r} should be a number")


def number_of(text: str, which: str = "last") -> Decimal | None:
    """The first or last number in a text; None if there is none. Commas may group thousands."""
    found = [match[0] for match in _NUMBER.finditer(text)]
    if not found:
        return None
    chosen = found[0 if which == "first" else -1].replace(",", "").replace("\u2212", "-")
    try:
        return Decimal(chosen)
    except InvalidOperation:
        return None


def numeric(row: EvalRow, answer: Answer) -> str:
    """The number in the answer is the reference's, or within a tolerance of it."""
    wanted = number_of(str(row.reference["number"]))
    assert wanted is not None
    tolerance = Decimal(str(row.options.tolerance))
    relative = Decimal(str(row.options.relative_tolerance)) * abs(wanted)

    def judge(part: str) -> str:
        found = number_of(part, row.options.which)
        if found is None:
            return "no number"
        return "" if abs(found - wanted) <= max(tolerance, relative) else "wrong number"

    return judged(row, answer, judge)
