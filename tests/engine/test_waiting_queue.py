"""The order in which waiting requests are admitted."""

from random import Random
from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from engine.request import Request, SamplingParams, StopRules
from engine.waiting_queue import _MAX_OVERTAKEN, WaitingQueue


def request(name: str, *tokens: int, priority: int = 0, salt: str = "") -> Request:
    return Request(
        request_id=name,
        prompt_token_ids=list(tokens),
        sampling=SamplingParams(),
        stop=StopRules(max_tokens=1),
        priority=priority,
        cache_salt=salt,
    )


def filled(*requests: Request, by_prefix: bool = True) -> WaitingQueue:
    queue = WaitingQueue(by_prefix=by_prefix)
    for each in requests:
        queue.add(each)
    return queue


def take(queue: WaitingQueue) -> str:
    name = queue.next()
    assert name is not None
    queue.remove(name)
    return name


def drained(queue: WaitingQueue) -> list[str]:
    return [take(queue) for _ in range(len(queue))]


def test_prompts_that_begin_alike_go_together() -> None:
    queue = filled(
        request("a1", 7, 7, 1), request("b1", 300, 2), request("a2", 7, 7, 2),
        request("b2", 300, 1), request("a3", 7),
    )  # fmt: skip
    assert drained(queue) == ["a3", "a1", "a2", "b2", "b1"]
    assert queue.next() is None


def test_equal_prompts_and_prompts_without_caching_go_in_order_of_arrival() -> None:
    assert drained(filled(*(request(f"{n}", 5, 5) for n in range(12)))) == [*map(str, range(12))]
    mixed = [request(f"{n}", 99 - n) for n in range(12)]
    assert drained(filled(*mixed, by_prefix=False)) == [*map(str, range(12))]


def test_a_smaller_priority_goes_first() -> None:
    queue = filled(request("low", 1, priority=2), request("high", 9, priority=-1))
    assert take(queue) == "high"
    queue.add(request("new", 9, priority=0))
    assert drained(queue) == ["new", "low"]


def test_what_arrives_ahead_is_taken_along_and_what_arrives_behind_waits_a_round() -> None:
    queue = filled(request("a", 10), request("c", 30))
    assert take(queue) == "a"
    queue.add(request("behind", 5))
    queue.add(request("ahead", 20))
    assert drained(queue) == ["ahead", "c", "behind"]


def test_nobody_is_overtaken_for_ever() -> None:
    queue = filled(request("x", 50), request("behind", 51))
    assert take(queue) == "x"
    queue.add(request("low", 2))
    assert take(queue) == "behind"
    for number in range(2 * _MAX_OVERTAKEN):  # each newcomer stands just ahead of the lift
        queue.add(request(f"{number}", 52, number))
        if take(queue) == "low":
            break
    assert number == _MAX_OVERTAKEN


def test_other_salts_are_apart() -> None:
    queue = filled(
        request("a1", 1, salt="a"), request("b1", 1, salt="b"), request("a2", 1, salt="a")
    )
    assert drained(queue) == ["a1", "a2", "b1"]


def test_removing_the_unknown_is_nothing() -> None:
    queue = filled(request("a", 1))
    queue.remove("b")
    assert "a" in queue
    assert len(queue) == 1


@given(st.lists(st.tuples(st.sampled_from("ard"), st.integers(0, 5), st.integers(0, 2))))
def test_every_request_comes_out_once(steps: list[tuple[str, int, int]]) -> None:
    queue, waiting = WaitingQueue(), set[str]()
    for number, (step, token, priority) in enumerate(steps):
        if step == "a":
            queue.add(request(f"{number}", token, token + 1, priority=priority))
            waiting.add(f"{number}")
        elif step == "r" and waiting:
            waiting.remove(take(queue))
        elif waiting:
            chosen = sorted(waiting)[token % len(waiting)]
            queue.remove(chosen)
            waiting.remove(chosen)
        assert len(queue) == len(waiting)
        assert all(name in queue for name in waiting)
    assert set(drained(queue)) == waiting


def test_the_next_one_is_found_as_fast_among_very_many() -> None:
    generator = Random(1)

    def seconds(count: int) -> float:
        queue = filled(
            *(request(f"{n}", *generator.choices(range(1000), k=30)) for n in range(count))
        )
        begun = perf_counter()
        for _ in range(500):
            take(queue)
        return perf_counter() - begun

    few, many = min(seconds(1000) for _ in range(3)), min(seconds(20_000) for _ in range(3))
    assert many < few * 8  # logarithm and memmove; a scan would cost 20 times as much
