"""Workloads: the promised shapes, the same on every call."""

from itertools import pairwise

import pytest

from worker.benchmark.workloads import WORKLOADS, Shape, WorkItem, custom_items, workload_items

VOCAB_SIZE = 500


def prompts(items: list[WorkItem]) -> list[list[int]]:
    return [item.prompt_token_ids for item in items]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_is_the_same_on_every_call(name: str) -> None:
    items = workload_items(name, VOCAB_SIZE)
    assert items == workload_items(name, VOCAB_SIZE)
    assert len({item.name for item in items}) == len(items)
    used = {token for prompt in prompts(items) for token in prompt}
    assert min(used) >= 64
    assert max(used) < VOCAB_SIZE


@pytest.mark.parametrize(("name", "full"), [("W1", 256), ("W2", 256), ("W3", 64), ("W4", 192)])
def test_small_workloads_are_an_eighth(name: str, full: int) -> None:
    assert len(workload_items(name, VOCAB_SIZE)) == full
    assert len(workload_items(f"{name}s", VOCAB_SIZE)) == full // 8


def test_rounds_of_a_workload_are_other_requests_of_its_shape() -> None:
    once, often = workload_items("W2s", VOCAB_SIZE), workload_items("W2s", VOCAB_SIZE, times=3)
    assert often[: len(once)] == once
    assert len({item.name for item in often}) == len(often) == 3 * len(once)
    assert len({tuple(prompt[:512]) for prompt in prompts(often)}) == 3 * 2, "groups of their own"


def test_chat_has_short_and_long_requests() -> None:
    items = workload_items("W1", VOCAB_SIZE)
    lengths = sorted(len(prompt) for prompt in prompts(items))
    assert 32 <= lengths[0] < 40
    assert 450 < lengths[-1] <= 512
    assert 100 < lengths[128] < 165  # the middle of a logarithmic scale
    assert all(16 <= item.num_output_tokens <= 256 for item in items)


def test_groups_share_a_prefix_and_are_shuffled() -> None:
    items = workload_items("W2", VOCAB_SIZE)
    heads = [tuple(prompt[:512]) for prompt in prompts(items)]
    assert len(set(heads)) == 16
    assert all(heads.count(head) == 16 for head in set(heads))
    assert sum(a == b for a, b in pairwise(heads)) < 40
    assert all(544 <= len(prompt) <= 576 for prompt in prompts(items))


def test_turns_extend_the_turn_before() -> None:
    by_name = {item.name: item.prompt_token_ids for item in workload_items("W4", VOCAB_SIZE)}
    for number in range(32):
        for turn in range(5):
            before, after = by_name[f"{number}-{turn}"], by_name[f"{number}-{turn + 1}"]
            assert after[: len(before)] == before
            assert 84 <= len(after) - len(before) <= 288


def test_custom_lengths_are_kept() -> None:
    shape = Shape(prompt=(100, 120), output=(3, 5), shared_prefix=90)
    items = custom_items(shape, 50, VOCAB_SIZE, seed=1)
    assert {tuple(prompt[:90]) for prompt in prompts(items)} == {tuple(prompts(items)[0][:90])}
    assert {len(prompt) for prompt in prompts(items)} <= set(range(100, 121))
    assert {item.num_output_tokens for item in items} == {3, 4, 5}
    assert items != custom_items(shape, 50, VOCAB_SIZE, seed=2)
