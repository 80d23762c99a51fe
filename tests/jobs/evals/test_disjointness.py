"""Training data and the held-out suite share no word list, template, schema name or value list."""

import re
from collections.abc import Iterator
from random import Random
from types import ModuleType
from typing import Any

from engine.demo_model.training import (
    arithmetic,
    chat_tasks,
    mixture,
    parameters,
    phrases,
    text_tasks,
    tool_tasks,
    tools,
)
from engine.demo_model.training import vocabulary as training_words
from jobs.evals.demo import held_out_rows, text, values
from jobs.evals.demo import tools as held_out_tools
from jobs.evals.demo import vocabulary as held_out_words

SYLLABLES = {"ONSETS", "VOWELS", "CODAS"}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _strings(item)


def _constants(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        if name.lstrip("_").isupper() and name not in SYLLABLES:
            yield from _strings(value)


def _words(module: ModuleType) -> set[str]:
    parts = (re.split(r"[_\W]+", entry.lower()) for entry in _constants(module))
    return {word for part in parts for word in part if len(word) > 1}


def test_word_lists_share_no_word() -> None:
    shared = _words(training_words) & _words(held_out_words) - {"com", "org", "net"}
    assert len(_words(training_words)) > 500
    assert len(_words(held_out_words)) > 300
    assert not shared


def _templates(*modules: ModuleType) -> set[str]:
    found = {entry for module in modules for entry in _constants(module) if _is_template(entry)}
    return {re.sub(r"\{\w\}", "#", entry).lower().strip(" .?!") for entry in found}


def _is_template(entry: str) -> bool:
    """A sentence with a slot; bare punctuation, operators and `a x b` are no template."""
    words = re.findall(r"[a-z]{2,}", re.sub(r"\{\w\}", "", entry.lower()))
    return "{" in entry and bool(words)


def test_templates_differ() -> None:
    training = _templates(
        arithmetic, chat_tasks, parameters, phrases, text_tasks, tool_tasks, tools
    )
    held_out = _templates(text, values, held_out_tools)
    assert len(training) > 80
    assert len(held_out) > 40
    assert training & held_out == set()


def test_tool_and_field_names_differ() -> None:
    rng = Random(0)
    trained: set[str] = set()
    for _ in range(4000):
        for tool in mixture.draw(rng, 1.0).tools:
            trained |= _names(tool)
    held_out = {
        name for row in held_out_rows(100) for t in row.body.get("tools", ()) for name in _names(t)
    }
    assert len(held_out) > 200
    assert not trained & held_out


def _names(tool: dict[str, Any]) -> set[str]:
    function = tool["function"]
    return {function["name"], *function["parameters"].get("properties", {})}


def test_held_out_sums_are_left_out_of_training() -> None:
    for row in held_out_rows(200):
        if row.task.startswith("arithmetic"):
            left, right = (int(n) for n in re.findall(r"\d+", row.body["messages"][0]["content"]))
            if max(left, right) > 9:
                assert arithmetic.is_held_out(left, right)
