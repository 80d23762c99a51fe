"""allowed_token_ids and bad_words, from a request to a filter."""

import numpy as np
import pytest

from schemas.chat import parse_chat_request
from schemas.errors import ApiError
from tests.engine.structured_output.grammars import VOCAB_SIZE, bits, byte_tokenizer, ids
from worker.token_filters import FilterMaker

MAKER = FilterMaker(tokenizer=byte_tokenizer(), vocab_size=VOCAB_SIZE, num_tokens=VOCAB_SIZE)


def wrap(inner=None, **fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    return MAKER.wrap(parse_chat_request(body), inner)


def banned_after(constraint, text):
    for token_id in ids(text):
        constraint.append(token_id)
    row = np.zeros(constraint.num_words, np.int32)
    assert constraint.fill(row, ())
    return set(range(VOCAB_SIZE)) - bits(row)


def test_a_request_that_asks_for_nothing_keeps_its_constraint():
    marker = object()
    assert wrap() is None
    assert wrap(bad_words=[]) is None
    assert wrap(marker) is marker


def test_a_word_is_banned_as_it_is_and_behind_a_space():
    (plain,) = ids("ab")
    assert banned_after(wrap(bad_words=["ab"])(), "") == {plain}
    (*start, end) = ids(" ab")
    assert start
    assert banned_after(wrap(bad_words=[" ab"])(), " " * len(start)) == {plain, end}


def test_a_word_of_several_tokens_is_banned_at_its_last():
    *start, end = ids("xyz")
    assert len(start) == 2
    assert banned_after(wrap(bad_words=["xyz"])(), "x") == set()
    assert banned_after(wrap(bad_words=["xyz"])(), "xy") == {end}


def test_every_choice_has_a_filter_of_its_own():
    new = wrap(bad_words=["xy"])
    first, second = new(), new()
    assert banned_after(first, "x") == {ids("y")[0]}
    assert banned_after(second, "") == set()


def test_ids_outside_the_vocabulary_are_refused():
    with pytest.raises(ApiError) as caught:
        wrap(allowed_token_ids=[1, VOCAB_SIZE])
    assert (caught.value.code, caught.value.param) == ("invalid_value", "allowed_token_ids")
