"""Samples and seeds of what is sent."""

from jobs.evals.requests import is_sampled, to_send
from tests.jobs.evals.builders import row

DRAWN = row(id="a", target="x")
GREEDY = row(id="b", target="x", request={"temperature": 0})
CHOICE = row(id="c", prompt="p", choices=["x", "y"], target=0)


def test_only_rows_that_are_drawn_get_samples_and_a_seed() -> None:
    assert [is_sampled(each) for each in (DRAWN, GREEDY, CHOICE)] == [True, False, False]
    first, second, third = to_send([DRAWN, GREEDY, CHOICE], samples=4, seed=0)
    assert first.body["n"] == 4
    assert 0 <= first.body["seed"] < 2**63
    assert (second, third) == (GREEDY, CHOICE)


def test_a_row_keeps_its_seed_in_any_company() -> None:
    other = row(id="z", target="x")
    (alone,) = to_send([DRAWN], samples=1, seed=5)
    together = list(to_send([other, DRAWN], samples=2, seed=5))
    assert together[1].body["seed"] == alone.body["seed"] != together[0].body["seed"]
    assert "n" not in alone.body
    (reseeded,) = to_send([DRAWN], samples=1, seed=6)
    assert reseeded.body["seed"] != alone.body["seed"]


def test_a_seed_of_the_row_stays() -> None:
    (sent,) = to_send([row(target="x", request={"seed": 3})], samples=1, seed=5)
    assert sent.body["seed"] == 3
