"""The input of a chaos run, and the answer that each line must get.

Owns: the lines and what is right for each of them. Must not know: processes, faults. The fake
engine's tokens are a function of the whole prompt, so a row that was mixed up with another, or
continued from the wrong tokens, has another text.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes import expected_tokens
from tests.worker.doubles import TextTemplate, TextTokenizer

__all__ = ["FAKE_MODEL", "POISON", "Expected", "Workload", "write_input"]

FAKE_MODEL = "m"
POISON = "POISON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`num_lines` lines in all, among them `num_bad` that the validator refuses and `num_poison`
    that kill the process that runs them. Answers have `min_tokens` to `max_tokens` tokens.
    """

    num_lines: int
    num_bad: int = 0
    num_poison: int = 0
    min_tokens: int = 4
    max_tokens: int = 20
    model: str = FAKE_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is right for one line. `text` None: any text (a real model's, compared otherwise)."""

    custom_id: str
    status_code: int = 200
    text: str | None = None
    is_poison: bool = False


def write_input(path: Path, workload: Workload, *, seed: str) -> list[Expected]:
    """Write the lines; what is right for each, in their order."""
    dice = random.Random(seed)
    special = dice.sample(range(workload.num_lines), workload.num_bad + workload.num_poison)
    bad, poison = set(special[: workload.num_bad]), set(special[workload.num_bad :])
    expected: list[Expected] = []
    with path.open("w") as file:
        for idx in range(workload.num_lines):
            text = f"{POISON} {idx}" if idx in poison else f"line {idx} of {dice.random():.6f}"
            body = _body(workload, text, dice.randint(workload.min_tokens, workload.max_tokens))
            if idx in bad:
                body["temperature"] = 99
            line = {"custom_id": f"row-{idx}", "method": "POST", "url": "/v1/chat/completions"}
            file.write(json.dumps(line | {"body": body}) + "\n")
            expected.append(
                Expected(
                    custom_id=f"row-{idx}",
                    status_code=500 if idx in poison else 400 if idx in bad else 200,
                    text=_answer(body) if workload.model == FAKE_MODEL else None,
                    is_poison=idx in poison,
                )
            )
    return expected


def _body(workload: Workload, text: str, num_tokens: int) -> dict[str, Any]:
    return {
        "model": workload.model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": num_tokens,
        "temperature": 0,
        "ignore_eos": True,
    }


def _answer(body: dict[str, Any]) -> str:
    """What the fake engine answers when nothing disturbs it."""

    class Options:
        add_generation_prompt = True

    tokenizer = TextTokenizer()
    prompt = TextTemplate().render(body["messages"], options=Options())
    tokens = expected_tokens(tokenizer.encode_prompt(prompt), body["max_tokens"])
    return tokenizer.decode(tokens)
