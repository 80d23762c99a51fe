"""Small arithmetic, with and without a written-out thought.

Owns: the pairs that training may see and how a sum is thought through. Must not know: other tasks.
Pairs of two-digit numbers for which `is_held_out` holds never appear in training.
"""

from random import Random
from typing import Any

from engine.demo_model.training import words
from engine.demo_model.training.examples import Example, user
from engine.demo_model.training.phrases import loosened

__all__ = ["arithmetic", "drill", "is_held_out", "thought"]

_FORMS = {
    "+": ("{a} + {b}", "{a} plus {b}", "{a}+{b}", "the sum of {a} and {b}", "add {a} and {b}"),
    "-": ("{a} - {b}", "{a} minus {b}", "{a}-{b}", "subtract {b} from {a}", "take {b} from {a}"),
    "*": (
        "{a} * {b}",
        "{a} times {b}",
        "{a} x {b}",
        "the product of {a} and {b}",
        "multiply {a} by {b}",
    ),
}
_ASKS = (
    "What is {e}?",
    "{e}",
    "{e} = ?",
    "Compute {e}.",
    "How much is {e}?",
    "Calculate {e}",
    "{e} =",
    "Tell me {e}.",
    "{f} {e}?",
    "Please compute {e}.",
)
_THOUGHT_DRILLS = 0.3
_STORIES = {
    "+": (
        "{n} has {a} {t} and gets {b} more. How many {t} now?",
        "There are {a} {t} and then {b} more come. How many in total?",
        "{a} {t} and another {b} {t}: how many altogether?",
    ),
    "-": (
        "{n} had {a} {t} and gave away {b}. How many {t} are left?",
        "Of {a} {t}, {b} are gone. How many remain?",
        "{n} has {a} {t} and loses {b}. How many left?",
    ),
    "*": (
        "{a} boxes hold {b} {t} each. How many {t}?",
        "{n} buys {a} bags of {b} {t}. How many {t} in total?",
    ),
}


def is_held_out(left: int, right: int) -> bool:
    """Whether a pair is kept for the held-out suite (one in eight of two-digit pairs)."""
    return left >= 10 and right >= 10 and (left * 31 + right * 17) % 8 == 3


def thought(left: int, operator: str, right: int) -> str:
    """The steps by which a child would do it: ones and tens, or tens and ones times."""
    if operator == "*":
        tens, ones = divmod(max(left, right), 10)
        factor = min(left, right)
        if not tens:
            return f"{left} * {right} = {left * right}"
        return (
            f"{tens}0 * {factor} = {tens * 10 * factor}, {ones} * {factor} = {ones * factor}, "
            f"{tens * 10 * factor} + {ones * factor} = {left * right}"
        )
    tens, ones = right - right % 10, right % 10
    sign = 1 if operator == "+" else -1
    middle = left + sign * tens
    result = middle + sign * ones
    return f"{left} {operator} {tens} = {middle}, {middle} {operator} {ones} = {result}"


def _numbers(rng: Random, operator: str) -> tuple[int, int]:
    if operator == "*":
        left = rng.randint(2, 12) if rng.random() < 0.7 else rng.randint(2, 99)
        right = rng.randint(2, 9)
        return (right, left) if rng.random() < 0.5 else (left, right)
    while True:
        left = rng.randint(0, 99)
        right = rng.randint(0, 99) if rng.random() < 0.85 else rng.randint(0, 9)
        if operator == "-" and right > left and rng.random() < 0.95:
            left, right = right, left
        if not is_held_out(left, right):
            return left, right


def arithmetic(rng: Random) -> Example:
    """Sums, differences and products of numbers up to two digits."""
    thinking = rng.random() < 0.35
    messages: list[dict[str, Any]] = []
    for _ in range(1 if thinking else rng.randint(1, 20)):
        question, answer = _problem(rng, thinking=thinking)
        messages += [user(question), answer]
    return Example("arithmetic", messages[:-1], messages[-1], thinking=thinking)


def drill(rng: Random) -> tuple[str, str]:
    """A sum and its result, or how to think it through, with nothing around: ("31+42=", "73;").

    A small model needs some hundred thousand of them; in chats each would take thirty tokens.
    """
    operator = rng.choice("++--*")
    left, right = _numbers(rng, operator)
    while operator == "*" and max(left, right) > 12:
        left, right = _numbers(rng, operator)
    result = {"+": left + right, "-": left - right, "*": left * right}[operator]
    if rng.random() < _THOUGHT_DRILLS:
        return f"{left} {operator} {right}: ", f"{thought(left, operator, right)};"
    form = rng.choice(("{a}{o}{b}=", "{a} {o} {b} = ", "{a} {o} {b}\n"))
    return form.format(a=left, o=operator, b=right), f"{result};"


def _problem(rng: Random, *, thinking: bool) -> tuple[str, dict[str, Any]]:
    operator = rng.choice("++++----*")
    left, right = _numbers(rng, operator)
    while operator == "*" and not thinking and max(left, right) > 12:
        left, right = _numbers(rng, operator)
    result = {"+": left + right, "-": left - right, "*": left * right}[operator]
    if rng.random() < 0.2 and result >= 0:
        text = rng.choice(_STORIES[operator]).format(
            n=words.person(rng).split()[0], a=left, b=right, t=words.noun(rng) + "s"
        )
    else:
        form = rng.choice(_FORMS[operator]).format(a=left, b=right)
        text = loosened(rng, rng.choice(_ASKS)).format(e=form, f=words.filler(rng).capitalize())
        text = words.begun(text)
    answer = {"role": "assistant", "content": str(result)}
    if thinking:
        answer["reasoning_content"] = thought(left, operator, right)
    return text, answer
