"""Right or wrong: an answer of the model against the reference of a row.

Owns: which scorer is which, and the options each of them has. Must not know: the rules of equality
(scorers/), how the answer was made.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jsonschema.exceptions import UnknownType

from jobs.evals.answer import Answer, Verdict
from jobs.evals.rows import EvalRow, Scorer
from jobs.evals.scorers import calls, choice, numbers, text, values

__all__ = ["check_row", "score"]


@dataclass(slots=True, frozen=True)
class _Rules:
    """`check` refuses a reference (ValueError); `judge` returns what is wrong with an answer."""

    check: Callable[[EvalRow], None]
    judge: Callable[[EvalRow, Answer], str]
    options: frozenset[str] = frozenset()


def _nothing(_row: EvalRow) -> None:
    """Nothing has to be there."""


_RULES = {
    Scorer.EXACT: _Rules(text.check_targets, text.exact, frozenset({"extract", "ignore_case"})),
    Scorer.TEXT: _Rules(text.check_text, text.text),
    Scorer.NORMALISED: _Rules(text.check_targets, text.normalised, frozenset({"extract"})),
    Scorer.REGEX: _Rules(
        text.check_patterns, text.matching, frozenset({"extract", "ignore_case", "full"})
    ),
    Scorer.NUMERIC: _Rules(
        numbers.check_number,
        numbers.numeric,
        frozenset({"extract", "tolerance", "relative_tolerance", "which"}),
    ),
    Scorer.JSON: _Rules(values.check_value, values.same_value, frozenset({"extract"})),
    Scorer.JSON_SCHEMA: _Rules(values.check_schema, values.fits_schema, frozenset({"extract"})),
    Scorer.CALLS: _Rules(calls.check_calls, calls.same_calls),
    Scorer.NO_CALL: _Rules(_nothing, calls.no_call),
    Scorer.VALID_CALLS: _Rules(calls.check_tools, calls.valid_calls),
    Scorer.CHOICE: _Rules(choice.check_choices, choice.likeliest, frozenset({"length"})),
}


def check_row(row: EvalRow) -> None:
    """Raises ValueError for a row that its scorer cannot judge: a reference of another kind, an
    option that the scorer does not have, a pattern that does not compile.
    """
    rules = _RULES[row.scorer]
    for name in row.options.given:
        if name not in rules.options:
            known = ", ".join(sorted(rules.options)) or "none"
            raise ValueError(f"the scorer {row.scorer} has no option {name!r}; it has {known}")
    if row.options.extract is not None:
        text.check_pattern(row.options.extract)
    if row.scorer is Scorer.CHOICE and "prompt" not in row.body:
        raise ValueError("the scorer choice needs 'prompt', the text that the choices end")
    rules.check(row)


def score(row: EvalRow, answer: Answer) -> Verdict:
    """Judge one answer. Whatever a model may write, its row is judged, and the others are too."""
    try:
        reason = _RULES[row.scorer].judge(row, answer)
    except RecursionError:
        reason = "nested too deeply"
    except ArithmeticError:
        reason = "not a number that can be compared"
    except UnknownType as error:
        reason = f"the tool's schema is wrong: unknown type {error.type!r}"
    return Verdict(right=not reason, reason=reason)
