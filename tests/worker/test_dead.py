"""dead list, show, retry, drop."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from jobs.dead_letters import DeadLetter, DeadLetters, LetterFilter
from jobs.keys import Keys
from jobs.queue import Failure
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from tests.jobs.queue_lines import add_batch, commits, job, take
from tests.jobs.queue_lines import failure as failure_of
from worker import cli

pytestmark = pytest.mark.redis

COUNT = 3


@pytest.fixture
def letters(url: str) -> list[str]:
    """Ids of three letters: two of batch b, one of batch c."""

    async def die(queue: RedisQueue) -> None:
        await add_batch(queue, "b", [job(k, body=b'{"n": 1}') for k in range(3)], tenant="acme")
        await add_batch(queue, "c", [job(0, body=b"\xff")])
        for lease in await take(queue):
            if (lease.batch_id, lease.idx) != ("b", 2):
                name = "oops" if lease.batch_id == "b" else "c\n\x1b[2Jlear"
                failure: Failure = failure_of(lease, name)
                await queue.retry("worker-a", failure)

    on_queue(url, die)
    return [letter.letter_id for letter in listed(url)]


def on_queue(url: str, work: Any) -> Any:
    async def run() -> Any:
        redis = connect(url)
        try:
            return await work(RedisQueue(redis, Keys(), QueueSettings(max_attempts=1)))
        finally:
            await redis.aclose()

    return asyncio.run(run())


def listed(url: str, **wanted: str) -> list[DeadLetter]:
    async def find() -> list[DeadLetter]:
        redis = connect(url)
        try:
            letters = DeadLetters(redis, Keys(), QueueSettings())
            return [each async for each in letters.find(LetterFilter(**wanted))]
        finally:
            await redis.aclose()

    return asyncio.run(find())


def test_letters_are_listed(
    url: str, letters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["dead", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("id", "died", "batch", "idx", "custom_id", "model", "attempts", "cause", "worker")
    ]
    assert [line.split()[0] for line in lines[1:]] == letters
    assert "line-0" in lines[1]
    assert "\x1b" not in "".join(lines), "what a stranger wrote does not reach the terminal"


def test_filters_and_limit(
    url: str, letters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, expected in (
        (["--batch", "b"], letters[:2]),
        (["--tenant", "default"], letters[2:]),
        (["--cause", "oops", "--model", "other"], []),
    ):
        assert cli.main(["dead", "list", "--json", *arguments]) == 0
        out = capsys.readouterr().out
        assert [json.loads(line)["id"] for line in out.splitlines()] == expected
    assert cli.main(["dead", "list", "--limit", "1", "--json"]) == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["id"] for line in captured.out.splitlines()] == letters[:1]
    assert "more than 1" in captured.err


def test_nothing_is_listed_where_nothing_died(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dead", "list"]) == 0
    assert cli.main(["dead", "retry", "--all"]) == 0
    assert capsys.readouterr().out == ""


def test_a_letter_is_shown_with_its_body(
    url: str, letters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["dead", "show", letters[0], "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["body"], facts["earlier_attempts"]) == ({"n": 1}, [])
    assert (facts["cause"], facts["message"], facts["attempts"]) == ("oops", "it broke", 1)
    assert (facts["tenant"], facts["custom_id"]) == ("acme", "line-0")
    for letter_id in letters:
        assert cli.main(["dead", "show", letter_id]) == 0
    text = capsys.readouterr().out
    assert '"n": 1' in text
    assert "\x1b" not in text


def test_a_retried_job_goes_back_into_its_open_batch(
    url: str, letters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["dead", "retry", letters[0], letters[1]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{letters[0]} b 0", f"{letters[1]} b 1"]

    async def finish(queue: RedisQueue) -> None:
        await queue.reclaim_all("b")
        await queue.commit("worker-b", commits(await take(queue, "worker-b")))

    on_queue(url, finish)
    assert cli.main(["status", "b", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["num_ok"], status["num_err"], status["state"]) == (3, 0, "finalizing")
    assert [each.batch_id for each in listed(url)] == ["c"]
    assert cli.main(["dead", "retry", letters[0]]) == 1
    assert f"no dead letter '{letters[0]}'" in capsys.readouterr().err


def test_a_retried_job_of_a_lost_batch_gets_a_new_one(
    url: str, letters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    on_queue(url, lambda queue: queue.delete_batch("b"))
    assert cli.main(["dead", "retry", "--batch", "b"]) == 0
    captured = capsys.readouterr()
    ((first, batch_id, _), (_, same, idx)) = (line.split() for line in captured.out.splitlines())
    assert (first, batch_id, idx) == (letters[0], same, "1")
    assert f"headrace results {batch_id} -o OUT" in captured.err


def test_letters_are_dropped(
    url: str, letters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["dead", "drop", letters[2]]) == 0
    assert cli.main(["dead", "drop", "--all"]) == 0
    assert capsys.readouterr().out == "1 dropped\n2 dropped\n"
    assert listed(url) == []


@pytest.mark.parametrize("command", ["retry", "drop"])
@pytest.mark.parametrize("choice", [[], ["1-1", "--all"], ["--all", "--batch", "b"]])
def test_which_ones_must_be_said(
    url: str,
    letters: list[str],
    capsys: pytest.CaptureFixture[str],
    command: str,
    choice: list[str],
) -> None:
    assert cli.main(["dead", command, *choice]) == 2
    assert "which dead letters?" in capsys.readouterr().err
    assert len(listed(url)) == COUNT


def test_one_unknown_id_stops_all(
    url: str, letters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("retry", "drop"):
        assert cli.main(["dead", command, letters[0], "7-7"]) == 1
        assert "no dead letter '7-7'" in capsys.readouterr().err
    assert len(listed(url)) == COUNT
    assert cli.main(["dead", "show", "x"]) == 1


def test_a_server_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HEADRACE_REDIS", raising=False)
    for command in (["list"], ["show", "1-1"], ["retry", "--all"], ["drop", "--all"]):
        assert cli.main(["dead", *command]) == 2
    assert "which Redis?" in capsys.readouterr().err
    assert cli.main(["dead"]) == 2


def test_the_command_loads_no_torch_and_no_arrow() -> None:
    code = (
        "import sys, worker.dead; "
        "print(sorted({'torch', 'transformers', 'pyarrow'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout == "[]\n"
