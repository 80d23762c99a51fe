"""Hostile grammars cost their own row, and never more than the limits."""

import json
import os
import signal
import threading
import time
from typing import ClassVar

import pytest

from engine.errors import GrammarError, GrammarPendingError
from engine.structured_output.grammar import (
    choice_part,
    grammar_part,
    grammar_text,
    json_part,
    regex_part,
)
from engine.structured_output.limits import GrammarLimits
from engine.structured_output.patience import Patience, patience
from tests.engine.structured_output.grammars import (
    byte_tokenizer,
    factory,
    family_factory,
    ids,
    new_factory,
)

TIGHT = GrammarLimits(time_s=1, memory_bytes=128 * 2**20)


def schema_text(schema) -> str:
    """A schema as it comes out of the library's reach: without our own checks."""
    return json.dumps({"grammars": [{"json_schema": schema}]})


def chain(length: int) -> dict[str, object]:
    defs = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(length)}
    return {"$defs": {**defs, f"d{length}": {"type": "null"}}, "$ref": "#/$defs/d0"}


def choices(count: int) -> dict[str, object]:
    pairs = [[{"required": [f"{letter}{i}"]} for letter in "ab"] for i in range(count)]
    return {"type": "object", "allOf": [{"anyOf": pair} for pair in pairs]}


HOSTILE = {
    "stack": (schema_text(chain(20_000)), "nested too deeply"),
    "time": (schema_text({"type": "integer", "multipleOf": 999_983}), "too expensive|too big"),
    "size": (schema_text({"enum": [f"value {i}" for i in range(150_000)]}), "expensive|too big"),
    "product": (schema_text(choices(16)), "too large"),
    "ring": (
        schema_text({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        "no text satisfies it",
    ),
    "nothing": (schema_text({"type": "integer", "minimum": 5, "maximum": 3}), "Unsatisfiable"),
    "text": (grammar_text(grammar_part('start: "a" | undefined')), "undefined"),
    "no JSON": ("{", "."),
}


@pytest.fixture(scope="module")
def tight():
    return new_factory(TIGHT).compiler


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_grammar_is_refused_in_time(name, tight):
    grammar, reason = HOSTILE[name]
    tight.matcher(grammar_text(choice_part(["yes"])))  # the process is up
    start_s = time.monotonic()
    with pytest.raises(GrammarError, match=reason):
        tight.matcher(grammar)
    assert time.monotonic() - start_s < 20
    tight.matcher(grammar_text(choice_part(["no"])))  # and lives on


@pytest.mark.parametrize(
    "grammar",
    [
        grammar_text(json_part({"type": "string", "pattern": "(a+)+$"})),
        grammar_text(regex_part("(a+)+$")),
        grammar_text(regex_part("(a{1,99999}){1,99999}")),
        grammar_text(json_part(chain(150))),
        grammar_text(json_part({"enum": [f"value {i}" for i in range(5000)]})),
        grammar_text(json_part({"type": "array", "items": {"type": "null"}, "maxItems": 10**6})),
    ],
)
def test_what_only_looks_hostile_compiles(grammar):
    assert not factory().compiler.matcher(grammar).is_error()


def test_a_refusal_is_remembered(tight):
    grammar, reason = HOSTILE["time"]
    with pytest.raises(GrammarError, match=reason):
        tight.matcher(grammar)
    start_s = time.monotonic()
    with pytest.raises(GrammarError, match=reason):
        tight.matcher(grammar)
    assert time.monotonic() - start_s < 0.1


def test_matchers_of_one_grammar_are_independent():
    grammar = grammar_text(choice_part(["yes", "no"]))
    first = factory().compiler.matcher(grammar)
    second = factory().compiler.matcher(grammar)
    assert first.consume_tokens(ids("yes"))
    assert second.consume_tokens(ids("no"))
    assert first.is_stopped()
    assert second.is_stopped()


def test_the_cache_is_bounded_by_bytes():
    compiler = new_factory(GrammarLimits(cache_bytes=300_000)).compiler
    for number in range(12):
        compiler.matcher(grammar_text(choice_part([f"answer {number}"])))
        assert compiler.num_cached_bytes <= 300_000
    assert compiler.num_cached_bytes > 0


def test_a_process_that_was_killed_is_replaced():
    compiler = new_factory().compiler
    compiler.matcher(grammar_text(choice_part(["yes"])))
    (trials,) = compiler._trials.values()
    os.kill(trials._process.pid, signal.SIGKILL)
    trials._process.wait()
    compiler.matcher(grammar_text(choice_part(["no"])))


def test_the_process_ends_with_its_compiler():
    compiler = new_factory().compiler
    compiler.matcher(grammar_text(choice_part(["yes"])))
    (trials,) = compiler._trials.values()
    process = trials._process
    del trials
    assert process.poll() is None
    del compiler
    assert process.poll() is not None


def test_empty_choices_are_choices_beside_others():
    matcher = factory().compiler.matcher(grammar_text(choice_part(["", "yes"])))
    assert matcher.is_accepting()
    with pytest.raises(GrammarError, match="nothing to choose"):
        choice_part([""])


def test_a_grammar_is_lark_or_gbnf():
    for text in (
        'start: "a" B\nB: /[0-9]+/',
        '?start: "a" b\n?b: /[0-9]/ | b /[0-9]/',
        'root ::= "a" b\nb ::= [0-9]+',
    ):
        matcher = factory().compiler.matcher(grammar_text(grammar_part(text)))
        assert matcher.consume_tokens(ids("a12"))
        assert matcher.is_accepting()


def test_a_tokenizer_that_does_not_go_with_grammars_is_named():
    class Slow:
        hf_tokenizer = object()
        added_token_ids: ClassVar[dict[str, int]] = {}

        def __len__(self) -> int:
            return 10

    from engine.structured_output.compiler import GrammarCompiler

    compiler = GrammarCompiler(Slow(), vocab_size=10, eos_token_ids=frozenset({0}))  # type: ignore[arg-type]
    with pytest.raises(GrammarError, match="tokenizer is written in Python"):
        compiler.matcher("x")


def test_added_tokens_that_are_pieces_of_text_may_be_used_and_markers_may_not():
    pieces = ('{"', '": "', '"}', "</tool_call>")
    tokenizer = byte_tokenizer(pieces)
    matcher = family_factory(pieces).compiler.matcher(
        grammar_text(json_part({"type": "object", "properties": {"a": {"type": "string"}}}))
    )
    opening, joint, end, marker = (tokenizer.added_token_ids[piece] for piece in pieces)
    (letter,) = tokenizer.encode_prompt("a")
    assert matcher.consume_tokens([opening, letter, joint])
    assert matcher.validate_tokens([letter, end]) == 2
    assert matcher.validate_tokens([marker]) == 0


def test_a_caller_without_patience_gets_what_is_known_and_waits_for_nothing():
    compiler = new_factory(TIGHT).compiler
    good = grammar_text(choice_part(["yes"]))
    bad = HOSTILE["nothing"][0]
    with patience(Patience.CACHED):
        for grammar in (good, bad):
            with pytest.raises(GrammarPendingError):
                compiler.matcher(grammar)
    assert not compiler._trials
    with patience(Patience.QUICK):
        compiler.matcher(good)
        with pytest.raises(GrammarError):
            compiler.matcher(bad)
    with patience(Patience.CACHED):
        compiler.matcher(good)
        with pytest.raises(GrammarError):
            compiler.matcher(bad)


def test_an_expensive_grammar_is_left_to_those_who_have_time():
    compiler = new_factory(TIGHT).compiler
    expensive = HOSTILE["time"][0]
    with patience(Patience.QUICK), pytest.raises(GrammarPendingError):
        compiler.matcher(expensive)
    with pytest.raises(GrammarError, match="too expensive"):
        compiler.matcher(expensive)


def test_a_quick_caller_passes_one_that_waits():
    compiler = new_factory(GrammarLimits(time_s=3)).compiler
    with patience(Patience.QUICK):
        compiler.matcher(grammar_text(choice_part(["a"])))  # so that its process runs
    ends: dict[str, float] = {}

    def wait() -> None:
        with pytest.raises(GrammarError):
            compiler.matcher(HOSTILE["time"][0])
        ends["slow"] = time.monotonic()

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    with patience(Patience.QUICK):
        compiler.matcher(grammar_text(choice_part(["b"])))
    ends["quick"] = time.monotonic()
    waiting.join()
    assert ends["quick"] < ends["slow"]
