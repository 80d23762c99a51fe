from hypothesis import given
from hypothesis import strategies as st

from jobs.online.messages import Piece, Step
from jobs.online.sent import FinalChoice, SentAnswer


def step(number: int, text: str, attempt: int = 1, index: int = 0) -> Step:
    return Step(attempt=attempt, number=number, pieces=(Piece(index=index, content=text),))


def texts(pieces: list[Piece]) -> str:
    return "".join(piece.content for piece in pieces)


def test_steps_are_sent_as_they_come_and_the_rest_at_the_end() -> None:
    sent = SentAnswer()
    assert texts(sent.follow(step(0, "ab"))) == "ab"
    assert texts(sent.follow(step(1, "c"))) == "c"
    rest = sent.rest(0, FinalChoice(content="abcd"))
    assert rest is not None
    assert rest.content == "d"


def test_after_a_missing_step_nothing_is_sent_until_the_end() -> None:
    sent = SentAnswer()
    sent.follow(step(0, "ab"))
    assert sent.follow(step(2, "ef")) == []
    assert sent.follow(step(3, "gh")) == []
    rest = sent.rest(0, FinalChoice(content="abcdefghi"))
    assert rest is not None
    assert rest.content == "cdefghi"


def test_another_attempt_goes_on_where_the_client_is() -> None:
    sent = SentAnswer()
    sent.follow(step(0, "abc"))
    assert texts(sent.follow(step(0, "ab", attempt=2))) == ""
    assert texts(sent.follow(step(1, "cde", attempt=2))) == "de"


def test_an_attempt_that_says_something_else_is_not_shown() -> None:
    sent = SentAnswer()
    sent.follow(step(0, "abc"))
    assert sent.follow(step(0, "xyz", attempt=2)) == []
    assert sent.rest(0, FinalChoice(content="xyz")) is None


def test_calls_and_log_probabilities_are_counted() -> None:
    sent = SentAnswer()
    first, second = {"id": "1"}, {"id": "2"}
    piece = Piece(index=0, calls=(first,), logprobs=({"token": "a"},))
    (shown,) = sent.follow(Step(attempt=1, number=0, pieces=(piece,)))
    assert (shown.calls, shown.first_call) == ((first,), 0)
    rest = sent.rest(0, FinalChoice(calls=(first, second), logprobs=({"token": "a"},)))
    assert rest is not None
    assert (rest.calls, rest.first_call, rest.logprobs) == ((second,), 1, ())


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=30))
def test_whatever_is_lost_the_client_gets_the_answer_once(
    answer: str, steps: list[tuple[int, bool]]
) -> None:
    """`steps`: how many characters each brings, and whether the worker dies after it."""
    sent = SentAnswer()
    got, attempt, number, position = "", 1, 0, 0
    for length, dies in steps:
        text = answer[position : position + length]
        position += len(text)
        if length % 3:  # every third message is lost
            got += texts(sent.follow(step(number, text, attempt)))
        number += 1
        if dies:
            attempt, number, position = attempt + 1, 0, 0
        assert answer.startswith(got)
    rest = sent.rest(0, FinalChoice(content=answer))
    assert rest is not None
    assert got + rest.content == answer
