"""One answer under a grammar: bans, ends, errors."""

import numpy as np

from engine.structured_output.constraint import OutputConstraint
from engine.structured_output.factory import ConstraintFactory, ThinkingRules
from engine.structured_output.grammar import choice_part, grammar_text, regex_part
from tests.engine.structured_output.grammars import (
    EOS,
    VOCAB_SIZE,
    allowed,
    byte_tokenizer,
    factory,
    feed,
    ids,
)

OFF = ThinkingRules(is_off=True)


def build(part, **settings) -> OutputConstraint:
    return factory().build(grammar_text(part), [], OFF, **settings)


def test_an_end_is_allowed_only_where_the_grammar_accepts():
    constraint = build(regex_part("a+"))
    assert EOS not in (allowed(constraint) or ())
    feed(constraint, "a")
    assert EOS in (allowed(constraint) or ())


def test_an_answer_is_complete_when_nothing_may_follow():
    assert feed(build(choice_part(["yes", "no"])), "yes")
    assert not feed(build(choice_part(["yes", "yes, please"])), "yes")


def test_an_answer_whose_end_is_ignored_goes_on_as_long_as_it_can():
    constraint = build(regex_part("a{1,2}"), ignores_ends=True)
    feed(constraint, "a")
    now = allowed(constraint)
    assert now is not None
    assert EOS not in now
    assert ids("a")[0] in now
    assert feed(constraint, "a")


def test_banned_tokens_are_left_out():
    constraint = build(regex_part("a+"))
    feed(constraint, "a")
    assert EOS not in (allowed(constraint, (EOS,)) or ())


def test_a_request_whose_every_token_is_banned_fails_alone():
    constraint = build(regex_part("a+"))
    assert allowed(constraint, tuple(range(VOCAB_SIZE))) is None
    assert constraint.error is not None
    assert "No token can come next" in constraint.error


def test_a_token_that_does_not_fit_is_an_error_and_not_an_exception():
    constraint = build(choice_part(["yes"]))
    assert not constraint.append(ids("x")[0])
    assert constraint.error is not None
    assert "\n" not in constraint.error
    assert not constraint.append(ids("y")[0])
    assert allowed(constraint) is None


def test_a_tokenizer_that_puts_a_space_before_a_text_spells_what_follows_without_it():
    tokenizer = byte_tokenizer(add_prefix_space=True)
    spaced = ConstraintFactory(tokenizer, vocab_size=VOCAB_SIZE, eos_token_ids=frozenset({EOS}))
    constraint = spaced.build(grammar_text(regex_part("yes-[ab]{2}")), [], OFF)
    assert not feed(constraint, "yes")
    assert feed(constraint, "-ab")


def test_a_mask_covers_the_vocabulary_and_no_more():
    constraint = build(regex_part("(?s:.)*"))
    assert constraint.num_words == -(-VOCAB_SIZE // 32)
    row = np.full(constraint.num_words, -1, np.int32)
    assert constraint.fill(row, ())
    now = allowed(constraint)
    assert now is not None
    assert max(now) < len(ids.__globals__["byte_tokenizer"]())
