"""`headrace run` again after every kind of interruption: nothing is lost or done twice."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from redis import Redis

from jobs.server_address import ServerAddress
from tests.e2e.command import headrace, line, read, running, wait_for, wait_for_rows, write

pytestmark = [pytest.mark.redis, pytest.mark.slow]

NUM_LINES = 40


def lines(num_lines: int = NUM_LINES, *, text: str = "question") -> list[dict[str, Any]]:
    """Rows of very different lengths, so that some are stored long before others.

    Greedy: where a draw falls between two tokens the last bits decide, which depend on how many
    rows a step has.
    """
    return [
        line(
            f"r{n}",
            f"{text} {n}",
            max_tokens=4 + (n % 10) * 8,
            temperature=0,
            ignore_eos=True,
        )
        for n in range(num_lines)
    ]


def command(file: Path, out: Path) -> tuple[str, ...]:
    return ("run", str(file), "-o", str(out), "--max-num-seqs", "8")


def answers(out: Path) -> dict[str, Any]:
    return {row["custom_id"]: row["response"]["body"]["choices"] for row in read(out)}


def kill_after(arguments: tuple[str, ...], num_rows: int, *, stored: Path | None = None) -> None:
    """Kill the run after so many rows, and once some of them are in the state folder `stored`."""
    with running(*arguments, "--metrics-port", "0") as process:
        wait_for_rows(process, num_rows)
        if stored is not None:
            wait_for(lambda: bool(list(stored.glob("*/part-*.parquet"))), "stored rows")
        process.kill()
        process.communicate()


def num_kept(summary: str) -> int:
    return int(next(each for each in summary.splitlines() if "kept" in each).split()[-1])


@pytest.mark.timeout(400)
def test_kills_do_not_change_the_answers(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", *lines())
    assert headrace(*command(file, tmp_path / "whole")).code == 0
    dice = random.Random(7)
    for _ in range(2):
        kill_after(command(file, tmp_path / "out"), dice.randint(1, 12))
    ended = headrace(*command(file, tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert list(answers(tmp_path / "out/output.jsonl")) == [f"r{n}" for n in range(NUM_LINES)]
    whole = answers(tmp_path / "whole/output.jsonl")
    assert answers(tmp_path / "out/output.jsonl") == whole
    assert num_kept(ended.out) > 0


@pytest.mark.timeout(400)
def test_changed_lines_are_computed_again_which_is_said_and_fresh_forgets_all(
    tmp_path: Path,
) -> None:
    before = lines(400)
    file = write(tmp_path / "in.jsonl", *before)
    kill_after(command(file, tmp_path / "out"), 10, stored=tmp_path / "out/.headrace")
    changed = [line("r0", "another question", max_tokens=5, ignore_eos=True), *before[1:]]
    write(file, *changed)
    ended = headrace(*command(file, tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert "the input has changed: rows of changed lines are computed again" in ended.err
    assert list(answers(tmp_path / "out/output.jsonl")) == [f"r{n}" for n in range(400)]
    table = pq.read_table(tmp_path / "out/results.parquet").to_pylist()
    assert table[0]["completion_tokens"] == 5
    assert 0 < num_kept(ended.out) < 400

    fresh = headrace(*command(file, tmp_path / "out"), "--fresh")
    assert fresh.code == 0, fresh.err
    assert "kept" not in fresh.out or num_kept(fresh.out) == 0
    assert list(answers(tmp_path / "out/output.jsonl")) == [f"r{n}" for n in range(400)]


@pytest.mark.timeout(400)
def test_a_server_that_is_emptied_in_the_middle_is_told_everything_again(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", *lines(100))
    out = tmp_path / "out"
    arguments = (*command(file, out), "--metrics-port", "0", "--log-format", "json")
    with running(*arguments) as process:
        wait_for_rows(process, 10)
        address = ServerAddress.read(out / ".headrace")
        assert address is not None
        stored = out / ".headrace" / "generation-0001"
        wait_for(lambda: bool(list(stored.glob("part-*.parquet"))), "stored rows")
        with Redis(unix_socket_path=address.socket_path) as client:
            client.flushall()
        _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    messages = [json.loads(each)["message"] for each in said.splitlines() if each[:1] == "{"]
    told = [each for each in messages if "the queue lost its data" in each]
    assert len(told) == 1, said
    assert list(answers(out / "output.jsonl")) == [f"r{n}" for n in range(100)]
    assert "Traceback" not in said
