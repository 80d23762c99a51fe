"""`--quantization int8` on the command line: other rows than without it, and told apart."""

from pathlib import Path

import pytest

from tests.e2e.command import headrace, line, read, write

pytestmark = [pytest.mark.redis, pytest.mark.slow]


def test_rows_with_int8_weights_are_not_taken_for_rows_without(tmp_path: Path) -> None:
    ask = {"model": "demo", "logprobs": True, "temperature": 0, "max_tokens": 6}
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", **ask) for n in range(3)))

    def run(*flags: str) -> tuple[list[object], str]:
        command = ("run", str(file), "-o", str(tmp_path / "out"), "--dtype", "float32", *flags)
        ended = headrace(*command)
        assert ended.code == 0, ended.err
        bodies = [row["response"]["body"] for row in read(tmp_path / "out" / "output.jsonl")]
        assert len({body["system_fingerprint"] for body in bodies}) == 1
        kept = next(each for each in ended.out.splitlines() if "kept" in each)
        return [bodies[0]["system_fingerprint"], bodies[0]["choices"]], kept.split()[-1]

    plain, _ = run()
    rounded, kept = run("--quantization", "int8")
    assert kept == "0"
    assert rounded[0] != plain[0]
    assert rounded[1] != plain[1]
    again, kept = run("--quantization", "int8")
    assert (again, kept) == (rounded, "3")


def test_a_method_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", line("a", model="demo"))
    ended = headrace("run", str(file), "-o", str(tmp_path / "out"), "--quantization", "awq")
    assert ended.code == 2
    assert "--quantization" in ended.err
    assert "awq" in ended.err
