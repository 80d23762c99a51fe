"""`--deterministic`: the same rows, log probabilities included, whatever ran beside them."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import headrace, line, read, write

pytestmark = [pytest.mark.redis, pytest.mark.slow]


def _choices(folder: Path) -> dict[str, Any]:
    rows = read(folder / "output.jsonl")
    return {row["custom_id"]: row["response"]["body"]["choices"] for row in rows}


def test_rows_are_the_same_alone_and_beside_others(tmp_path: Path) -> None:
    asks: dict[str, Any] = {
        "logprobs": True,
        "top_logprobs": 3,
        "temperature": 1.0,
        "max_tokens": 20,
        "ignore_eos": True,
    }
    lines = [
        line(f"row-{n}", model="demo", seed=n, **asks, messages=_messages(n)) for n in range(12)
    ]
    together = write(tmp_path / "together.jsonl", *lines)
    alone = write(tmp_path / "alone.jsonl", *reversed(lines))
    first = headrace("run", str(together), "-o", str(tmp_path / "a"), "--deterministic")
    second = headrace(
        *("run", str(alone), "-o", str(tmp_path / "b"), "--deterministic"),
        *("--max-num-seqs", "1", "--max-num-batched-tokens", "16", "--no-enable-prefix-caching"),
    )
    assert (first.code, second.code) == (0, 0), first.err + second.err
    rows = _choices(tmp_path / "a")
    assert len(rows) == 12
    assert _choices(tmp_path / "b") == rows
    assert len({str(choices) for choices in rows.values()}) == 12


def _messages(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "Answer in one short sentence, please."},
        {"role": "user", "content": f"What do you say to number {number}?" * (1 + number % 3)},
    ]
