"""Tokens that a request itself lets through, with and without another constraint."""

import numpy as np
import pytest

from engine.token_filter import TokenFilter, token_mask
from tests.engine.structured_output.grammars import bits

NUM_WORDS = 2


class Inner:
    """A constraint that allows `token_ids`, None for any."""

    num_words = NUM_WORDS

    def __init__(self, token_ids=None, error=None):
        self.token_ids, self.error, self.seen = token_ids, error, []

    def append(self, token_id):
        self.seen.append(token_id)
        return token_id == 9

    def fill(self, row, banned):
        if self.error is not None or self.token_ids is None:
            return False
        row[:] = token_mask(set(self.token_ids) - set(banned), NUM_WORDS)
        return True


def fill(constraint, banned=()):
    row = np.zeros(NUM_WORDS, np.int32)
    return bits(row) if constraint.fill(row, banned) else None


def allow(*token_ids):
    return token_mask(token_ids, NUM_WORDS)


def test_only_allowed_tokens_come_and_no_banned_ones():
    constraint = TokenFilter(num_words=NUM_WORDS, allowed=allow(3, 31, 32, 63, 99))
    assert fill(constraint) == {3, 31, 32, 63}
    assert fill(constraint, (3, 63)) == {31, 32}


@pytest.mark.parametrize(
    ("output", "banned"),
    [
        ([], {7}),
        ([5], {7, 6}),
        ([5, 6], {7, 8}),
        ([4, 5, 6], {7, 8}),
        ([5, 6, 5], {7, 6}),
        ([6], {7}),
    ],
)
def test_the_last_token_of_a_word_is_banned_behind_the_others(output, banned):
    constraint = TokenFilter(num_words=NUM_WORDS, words=[(5, 6, 8), (5, 6), (7,)])
    for token_id in output:
        assert not constraint.append(token_id)
    assert fill(constraint) == set(range(64)) - banned


def test_another_constraint_is_followed_too():
    inner = Inner({1, 2, 7})
    constraint = TokenFilter(num_words=NUM_WORDS, allowed=allow(2, 7, 8), words=[(7,)], inner=inner)
    assert fill(constraint) == {2}
    assert not constraint.append(2)
    assert constraint.append(9)
    assert inner.seen == [2, 9]


def test_where_the_other_constraint_allows_everything_the_filter_still_holds():
    constraint = TokenFilter(num_words=NUM_WORDS, allowed=allow(4, 5), inner=Inner(None))
    assert fill(constraint, (5,)) == {4}


def test_an_error_says_that_no_token_is_left():
    constraint = TokenFilter(num_words=NUM_WORDS, allowed=allow(3))
    assert fill(constraint, (3,)) is None
    assert "No token" in constraint.error
    broken = TokenFilter(num_words=NUM_WORDS, inner=Inner({1}, error="spoiled"))
    assert fill(broken) is None
    assert broken.error == "spoiled"
