"""`headrace run` with the demo model: the answers, the second run, and every way to be stopped."""

import json
import shlex
import signal
from pathlib import Path

import pytest

from tests.e2e.command import (
    end,
    headrace,
    line,
    read,
    running,
    wait_for,
    wait_for_rows,
    write,
)

pytestmark = [pytest.mark.redis, pytest.mark.slow]


def long_file(path: Path, num_lines: int = 120) -> Path:
    """Rows of very different lengths, so that some are stored long before others."""
    lines = [
        line(f"r{n}", f"question {n}", max_tokens=4 + (n % 12) * 8, ignore_eos=True)
        for n in range(num_lines)
    ]
    return write(path, *lines)


def test_a_small_file_and_the_second_run(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    file = write(
        tmp_path / "in.jsonl",
        line("plain"),
        line("choices", n=3, temperature=1, seed=5),
        line("tools", tools=[tool]),
        line("stop", stop=["e", "a"], max_tokens=50),
        line("greedy", temperature=0),
        line("bad", temperature=99),
    )
    first = headrace("run", str(file), "-o", str(tmp_path / "out"))
    assert first.code == 3, first.err
    rows = {row["custom_id"]: row["response"] for row in read(tmp_path / "out/output.jsonl")}
    assert list(rows) == ["plain", "choices", "tools", "stop", "greedy"]
    assert all(row["status_code"] == 200 for row in rows.values())
    assert len(rows["choices"]["body"]["choices"]) == 3
    text = rows["stop"]["body"]["choices"][0]["message"]["content"]
    assert not set(text) & {"e", "a"}
    for name in ("rows ok", "prompt tokens", "cached tokens", "output tokens/s", "wall seconds"):
        assert name in first.out
    before = {
        path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()
    }

    second = headrace("run", str(file), "-o", str(tmp_path / "out"))

    assert second.code == 3
    assert "loading model" not in second.err
    after = {
        path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()
    }
    assert after == before


def test_the_same_file_gives_the_same_rows(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", temperature=1) for n in range(5)))
    texts = []
    for name in ("one", "two"):
        command = ("run", str(file), "-o", str(tmp_path / name), "--deterministic")
        assert headrace(*command).code == 0
        rows = read(tmp_path / name / "output.jsonl")
        texts.append([row["response"]["body"]["choices"] for row in rows])
    assert texts[0] == texts[1]
    assert len({json.dumps(choices) for choices in texts[0]}) > 1


def test_a_killed_run_is_continued(tmp_path: Path) -> None:
    file = long_file(tmp_path / "in.jsonl")
    state = tmp_path / "out" / ".headrace"
    arguments = ("run", str(file), "-o", str(tmp_path / "out"), "--max-num-seqs", "8")
    with running(*arguments, "--metrics-port", "0") as process:
        wait_for_rows(process, 10)
        process.kill()
        process.communicate()
    assert not (tmp_path / "out" / "output.jsonl").exists()
    assert (state / "server.json").exists(), "the server went down with the run"
    ended = headrace(*arguments)
    assert ended.code == 0, ended.err
    rows = read(tmp_path / "out" / "output.jsonl")
    assert [row["custom_id"] for row in rows] == [f"r{n}" for n in range(120)]
    assert not (state / "server.json").exists(), "a server was left behind"
    kept = [each for each in ended.out.splitlines() if "kept" in each]
    assert 10 <= int(kept[0].split()[-1]) < 120


def test_the_interruption_does_not_change_the_answers(tmp_path: Path) -> None:
    file = long_file(tmp_path / "in.jsonl", 40)
    settings = ("--max-num-seqs", "8", "--deterministic")
    assert headrace("run", str(file), "-o", str(tmp_path / "whole"), *settings).code == 0
    arguments = ("run", str(file), "-o", str(tmp_path / "out"), *settings)
    with running(*arguments, "--metrics-port", "0") as process:
        wait_for_rows(process, 4)
        ended = end(process, signal.SIGINT)
    assert ended.code == 130, ended.err
    resume = shlex.split(ended.sentence.partition("continue with: ")[2])
    assert resume[0] == "headrace"
    assert headrace(*resume[1:]).code == 0

    def texts(folder: str) -> list[object]:
        rows = read(tmp_path / folder / "output.jsonl")
        return [row["response"]["body"]["choices"] for row in rows]

    assert texts("out") == texts("whole")


def test_sigterm_while_loading_ends_at_once(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", line("a"))
    with running("run", str(file), "-o", str(tmp_path / "out")) as process:
        wait_for((tmp_path / "out/.headrace/redis").exists, "the run's server")
        ended = end(process)
    assert ended.code == 143, ended.err
    assert "continue with" in ended.sentence
    assert headrace("run", str(file), "-o", str(tmp_path / "out")).code == 0


def test_fresh_finds_the_server_of_a_killed_run(tmp_path: Path) -> None:
    file = long_file(tmp_path / "in.jsonl", 30)
    arguments = ("run", str(file), "-o", str(tmp_path / "out"))
    with running(*arguments) as process:
        wait_for((tmp_path / "out/.headrace/server.json").exists, "the run's server")
        process.kill()
        process.communicate()
    assert headrace(*arguments, "--fresh").code == 0
    commands = [command_line(process) for process in Path("/proc").glob("[0-9]*")]
    assert not [each for each in commands if str(tmp_path).encode() in each]


def command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["--model", "no/such-model"], "no/such-model"),
        (["--model", "/no/such/folder"], "/no/such/folder"),
        (["--model", "quantised"], "quant"),
        (["--model", "recurrent"], "cannot run"),
        (["--max-model-len", "1000000"], "max_model_len"),
        (["--chat-template", "missing.jinja"], "missing.jinja"),
    ],
)
def test_a_model_that_cannot_run_is_refused_in_one_sentence(
    tmp_path: Path, arguments: list[str], needle: str
) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b", model="quantised"))
    checkpoint(
        tmp_path / "quantised",
        model_type="qwen3",
        architectures=["Qwen3ForCausalLM"],
        quantization_config={"quant_method": "gptq", "bits": 4},
    )
    checkpoint(tmp_path / "recurrent", model_type="mamba", architectures=["MambaForCausalLM"])
    local = [str(tmp_path / each) if (tmp_path / each).is_dir() else each for each in arguments]
    served = ["--served-model-name", "demo"]
    ended = headrace("run", str(file), "-o", str(tmp_path / "out"), *local, *served)
    assert ended.code in (1, 2), ended.err
    assert ended.sentence.startswith("headrace: ")
    assert needle in ended.sentence
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out" / "output.jsonl").exists()


def checkpoint(folder: Path, **config: object) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
