"""Texts: equal, equal but for form, or matched by a pattern.

Owns: these comparisons, and cutting the part that counts out of an answer. Must not know: where the
texts come from. Patterns come from a suite and answers from a model, so every search has a limit.
"""

import string
import unicodedata
from collections.abc import Callable
from typing import Any

import regex

from jobs.evals.answer import Answer
from jobs.evals.rows import EvalRow, ScorerOptions

__all__ = [
    "check_pattern",
    "check_patterns",
    "check_targets",
    "check_text",
    "exact",
    "extracted",
    "judged",
    "matching",
    "normalised",
    "text",
]

_SEARCH_S = 0.5  # of the processor
_ARTICLES = regex.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def check_text(row: EvalRow) -> None:
    """The reference is an assistant message with a text."""
    if not isinstance(row.reference.get("content"), str):
        raise ValueError("the reference has no 'content', a text")


def check_targets(row: EvalRow) -> None:
    """The reference holds a text, or several of which each is right."""
    targets = row.reference.get("targets")
    if not targets or not all(isinstance(target, str) for target in targets):
        raise ValueError(f"the target {targets!r} should be a text, or a list of texts")


def check_patterns(row: EvalRow) -> None:
    """The reference holds patterns."""
    check_targets(row)
    for target in row.reference["targets"]:
        check_pattern(target)


def check_pattern(pattern: str) -> None:
    """Raises ValueError for a pattern that does not compile."""
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"the pattern {pattern!r} is wrong: {error}") from error


def extracted(content: str, options: ScorerOptions) -> str | None:
    """The part of an answer that counts; None if `extract` is nowhere in it.

    Raises TimeoutError if the search takes too long.
    """
    if options.extract is None:
        return content
    found = list(regex.finditer(options.extract, content, regex.DOTALL, timeout=_SEARCH_S))
    if not found:
        return None
    last = found[-1]
    return str(last[1] if last.re.groups and last[1] is not None else last[0])


def judged(row: EvalRow, answer: Answer, judge: Callable[[str], str]) -> str:
    """The verdict of `judge` on the part of a text that counts; without one, what was wrong."""
    if answer.calls:
        return "a call, expected text"
    try:
        part = extracted(answer.content, row.options)
        return "nothing to extract" if part is None else judge(part)
    except TimeoutError:
        return "the search took too long"


def text(row: EvalRow, answer: Answer) -> str:
    """Equal, outer white space and a final full stop aside."""
    if answer.calls:
        return "a call, expected text"
    same = _trimmed(answer.content) == _trimmed(row.reference["content"])
    return "" if same else "wrong text"


def exact(row: EvalRow, answer: Answer) -> str:
    """Equal to a target, character by character."""
    return _compared(row, answer, str.casefold if row.options.ignore_case else str)


def normalised(row: EvalRow, answer: Answer) -> str:
    """Equal to a target but for case, punctuation, English articles and spacing."""
    return _compared(row, answer, _plain)


def matching(row: EvalRow, answer: Answer) -> str:
    """A target's pattern is found in the answer."""
    flags = regex.IGNORECASE if row.options.ignore_case else 0
    search = regex.fullmatch if row.options.full else regex.search

    def judge(part: str) -> str:
        found = (
            search(pattern, part, flags, timeout=_SEARCH_S) for pattern in row.reference["targets"]
        )
        return "" if any(found) else "no match"

    return judged(row, answer, judge)


def _compared(row: EvalRow, answer: Answer, form: Any) -> str:
    wanted = {form(target) for target in row.reference["targets"]}
    return judged(row, answer, lambda part: "" if form(part) in wanted else "wrong text")


def _trimmed(content: str) -> str:
    return content.strip().rstrip(".")


def _plain(content: str) -> str:
    folded = unicodedata.normalize("NFKC", content).casefold().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", folded).split())
