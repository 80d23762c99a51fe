import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker import cli
from worker.errors import RunError

ROOT = Path(__file__).parent.parent.parent
VLLM_FLAGS = (
    *("--model", "--dtype", "--max-model-len", "--max-num-seqs", "--max-num-batched-tokens"),
    *(
        "--gpu-memory-utilization",
        "--kv-cache-dtype",
        "--block-size",
        "--no-enable-prefix-caching",
        "--seed",
    ),
    *("--served-model-name", "--chat-template", "--host", "--port", "--revision"),
    "--quantization",
)
OUR_FLAGS = (
    *("--device", "--namespace", "--kv-cache-memory-bytes", "--metrics-port", "--log-format"),
    *("--lease-seconds", "--drain-seconds"),
)
COMMANDS = ("run", "worker", "enqueue", "status", "results", "cancel")


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main([command, "--help"]) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_gives_every_option_its_variable_and_default(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(command, capsys)
    flags = set(re.findall(r" (--[a-z][a-z-]+)(?=[ ,])", text)) - {"--help", "--json", "--port"}
    flags = {flag for flag in flags if f"{flag} <" in text or f"{flag} /" in text}
    assert flags
    for flag in flags:
        variable = "HEADRACE_" + flag[2:].replace("-", "_").upper()
        match = re.search(rf"env var: {variable}[^\]]*\]", text)
        assert match, f"{flag} does not show {variable}"
        assert "default" in match[0] or "required" in match[0], match[0]


def test_vllm_s_flag_names_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("worker", capsys)
    for flag in VLLM_FLAGS + OUR_FLAGS:
        assert flag in text, flag


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["run", "x"], "--output"),
        (["run", "x", "-o", "y", "--bogus"], "--bogus"),
        (["run", "x", "-o", "y", "--max-num-seqs", "0"], "--max-num-seqs"),
        (["run", "x", "-o", "y", "--max-num-seqs", "many"], "--max-num-seqs"),
        (["run", "x", "-o", "y", "--dtype", "int3"], "--dtype"),
        (["run", "x", "-o", "y", "--kv-cache-dtype", "int8"], "--kv-cache-dtype"),
        (["run", "x", "-o", "y", "--quantization", "int3"], "--quantization"),
        (["run", "x", "-o", "y", "--gpu-memory-utilization", "1.5"], "--gpu-memory-utilization"),
        (["bogus"], "bogus"),
        (["status"], "ID"),
    ],
)
def test_a_usage_error_is_one_sentence_and_exit_code_2(
    arguments: list[str], needle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert needle in captured.err
    assert captured.err.startswith("headrace: ")
    assert captured.err.count("\n") == 1


def test_a_bad_variable_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_MAX_NUM_SEQS", "many")
    assert cli.main(["run", "x", "-o", "y"]) == 2
    assert "HEADRACE_MAX_NUM_SEQS" in capsys.readouterr().err


def test_flags_win_over_variables_and_variables_over_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = capture_run(monkeypatch)
    monkeypatch.setenv("HEADRACE_SEED", "5")
    monkeypatch.setenv("HEADRACE_BLOCK_SIZE", "8")
    monkeypatch.setenv("HEADRACE_ENABLE_PREFIX_CACHING", "0")
    assert cli.main(["run", "x", "-o", "y", "--seed", "6"]) == 0
    process = seen[0].process  # type: ignore[attr-defined]
    assert process.model.seed == 6
    assert process.engine.block_size == 8
    assert process.engine.max_num_seqs == 256
    assert not process.engine.enable_prefix_caching


def test_the_command_that_resumes_does_not_start_over(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = capture_run(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["headrace", "run", "a b.jsonl", "-o", "out", "--fresh"])
    assert cli.main() == 0
    assert seen[0].resume_command == "headrace run 'a b.jsonl' -o out"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RunError("no luck today"), "headrace: no luck today\n"),
        (ExceptionGroup("x", [RunError("no luck today")]), "headrace: no luck today\n"),
    ],
)
def test_an_expected_failure_is_one_sentence_and_exit_code_1(
    error: Exception,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capture_run(monkeypatch, error)
    assert cli.main(["run", "x", "-o", "y"]) == 1
    assert capsys.readouterr().err == text


def test_a_bug_shows_its_traceback_only_with_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capture_run(monkeypatch, TypeError("a bug"))
    assert cli.main(["run", "x", "-o", "y"]) == 1
    plain = capsys.readouterr().err
    assert "Traceback" not in plain
    assert "TypeError: a bug" in plain
    assert cli.main(["run", "x", "-o", "y", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"headrace \d+\.\d+\S*\n", capsys.readouterr().out)


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "enqueue" in capsys.readouterr().out


def test_commands_that_only_talk_to_redis_load_no_torch() -> None:
    code = (
        "import sys, worker.cli, worker.enqueue, worker.batches;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'pyarrow', 'rich')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def capture_run(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[object]:
    """Replace what `headrace run` does; returns the list its settings go to."""
    import worker.run

    seen: list[object] = []

    def run_file(settings: object) -> int:
        seen.append(settings)
        if error is not None:
            raise error
        return 0

    monkeypatch.setattr(worker.run, "run_file", run_file)
    return seen
