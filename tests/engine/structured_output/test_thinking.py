"""Where reasoning begins and ends, and that its budget holds."""

import pytest

from engine.structured_output.factory import ThinkingRules
from engine.structured_output.grammar import choice_part, grammar_text
from engine.structured_output.thinking import ThinkingMarkers, ThinkingState
from tests.engine.structured_output.grammars import (
    EOS,
    VOCAB_SIZE,
    allowed,
    byte_tokenizer,
    factory,
    feed,
    ids,
)

START, END = (byte_tokenizer().added_token_ids[text] for text in ("<think>", "</think>"))
YES = grammar_text(choice_part(["yes"]))
PLAIN = ids("user: hi\nassistant: ")
OPEN = [*PLAIN, START, *ids("\n")]
CLOSED = [*PLAIN, START, *ids("\n\n"), END, *ids("\n\n")]
BEGINS_YES = {ids("yes")[0], ids("y")[0], ids("ye")[0]}


def build(prompt, grammar=YES, **rules):
    return factory().build(grammar, prompt, ThinkingRules(**rules))


def test_a_grammar_waits_for_reasoning_that_the_prompt_opened():
    constraint = build(OPEN)
    free = allowed(constraint)
    assert free is not None
    assert free >= set(range(VOCAB_SIZE)) - {EOS}
    assert EOS not in free  # the answer would end without its grammar
    for token_id in [*ids("hm, no"), END]:
        assert not constraint.append(token_id)
    assert feed(constraint, "yes")


def test_a_model_may_open_reasoning_with_its_first_token_only():
    constraint = build(PLAIN)
    now = allowed(constraint)
    assert now is not None
    assert START in now
    assert now <= BEGINS_YES | {START}
    constraint.append(START)
    constraint.append(ids("x")[0])
    constraint.append(END)
    now = allowed(constraint)
    assert now is not None
    assert START not in now
    assert feed(constraint, "yes")
    other = build(PLAIN)
    other.append(ids("y")[0])
    assert START not in (allowed(other) or ())


@pytest.mark.parametrize(
    ("prompt", "rules"),
    [(CLOSED, {}), (PLAIN, {"is_off": True}), (PLAIN, {"is_continued": True})],
)
def test_without_reasoning_the_grammar_begins_at_once(prompt, rules):
    now = allowed(build(prompt, **rules))
    assert now is not None
    assert now <= BEGINS_YES


def test_markers_in_the_middle_of_a_prompt_say_nothing():
    quoted = [*PLAIN, START, *ids("said the user. And then? assistant: ")]
    assert START in (allowed(build(quoted)) or ())
    assert not build(quoted)._thinking.is_open


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_a_budget_forces_the_end(budget):
    constraint = build(OPEN, grammar=None, budget=budget)
    for _ in range(budget):
        assert allowed(constraint) is None
        constraint.append(ids("x")[0])
    assert allowed(constraint) == {END}
    constraint.append(END)
    assert allowed(constraint) is None  # and what follows is free


def test_a_budget_and_a_grammar_go_together():
    constraint = build(PLAIN, budget=1)
    constraint.append(START)
    constraint.append(ids("x")[0])
    assert allowed(constraint) == {END}
    constraint.append(END)
    assert feed(constraint, "yes")


def test_a_constraint_rebuilt_from_its_tokens_goes_on_the_same():
    tokens = [START, *ids("abc"), END, *ids("ye")]
    whole = build(PLAIN, budget=9)
    for count, token_id in enumerate(tokens):
        rebuilt = build(PLAIN, budget=9)
        for earlier in tokens[:count]:
            rebuilt.append(earlier)
        assert allowed(rebuilt) == allowed(whole)
        whole.append(token_id)


def test_reasoning_in_channels_ends_where_the_final_channel_begins():
    markers = ThinkingMarkers(start_id=None, end_ids=(1, 2, 3), forced_ids=(9, 8, 1, 2, 3))
    state = ThinkingState(markers, [5, 5])
    assert state.is_open
    for token_id in (1, 2, 5, 1, 2, 3):
        assert state.append(token_id)
    assert not state.is_open
    assert not state.append(4)
    assert not ThinkingState(markers, [5, 1, 2, 3]).is_open


def test_a_budget_writes_the_whole_way_to_the_final_channel():
    markers = ThinkingMarkers(start_id=None, end_ids=(1, 2, 3), forced_ids=(9, 8, 1, 2, 3))
    state = ThinkingState(markers, [], budget=2)
    written = []
    while state.is_open:
        forced = state.forced_id
        written.append(7 if forced is None else forced)
        state.append(written[-1])
    assert written == [7, 7, 9, 8, 1, 2, 3]
