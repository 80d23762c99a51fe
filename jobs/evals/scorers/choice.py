"""Multiple choice by log-likelihood: which of several endings does the model find likeliest?

Owns: the comparison. Must not know: how the endings were scored.
"""

from jobs.evals.answer import Answer
from jobs.evals.rows import EvalRow

__all__ = ["check_choices", "likeliest"]


def check_choices(row: EvalRow) -> None:
    """The reference has two or more choices and the index of the right one."""
    choices, answer = row.reference.get("choices"), row.reference.get("answer")
    if not isinstance(choices, list) or len(choices) < 2:
        raise ValueError(f"'choices' is {choices!r}; give two or more texts")
    if not all(isinstance(choice, str) and choice for choice in choices):
        raise ValueError("every one of 'choices' should be a text that is not empty")
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise ValueError(
            f"the target {answer!r} should be one of 'choices', or its index from 0 to "
            f"{len(choices) - 1}"
        )


def likeliest(row: EvalRow, answer: Answer) -> str:
    """The right choice has the highest log-likelihood; of equal ones the first counts."""
    choices, right = row.reference["choices"], row.reference["answer"]
    if len(answer.choices) != len(choices):
        return f"{len(answer.choices)} scores for {len(choices)} choices"
    values = []
    for text, scored in zip(choices, answer.choices, strict=True):
        divisors = {"none": 1, "characters": len(text), "tokens": scored.num_tokens}
        values.append(scored.logprob / max(1, divisors[row.options.length]))
    best = values.index(max(values))
    return "" if best == right else f"choice {best}, expected {right}"
