"""How an interruption is resumed: with the command as it was typed, but not from the start."""

import sys

import pytest

from worker.run_command import resume_command


def test_the_command_is_repeated_without_starting_over(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["/bin/headrace", "run", "my file.jsonl", "--fresh", "-o", "out"]
    monkeypatch.setattr(sys, "argv", typed)
    assert resume_command() == "headrace run 'my file.jsonl' -o out"


def test_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["headrace", "results", "b", "--redis=redis://me:secret@host:6379/0"]
    monkeypatch.setattr(sys, "argv", typed)
    assert "secret" not in resume_command()
    assert "host:6379/0" in resume_command()
