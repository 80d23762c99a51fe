import subprocess
import sys
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from jobs.producers.custom_ids import CustomIdTable, _Shard


@given(st.lists(st.text(max_size=3), max_size=300))
def test_behaves_like_a_set_of_strings(ids: list[str]) -> None:
    table, model = CustomIdTable(), set()
    for custom_id in ids:
        assert table.add(custom_id) is (custom_id not in model)
        model.add(custom_id)
    assert len(table) == len(model)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=200))
def test_a_crowded_shard_behaves_like_a_set_of_pairs(pairs: list[tuple[int, int]]) -> None:
    """Few tags and near places: long runs of taken slots, and growth in the middle of them."""
    shard, model = _Shard(), set()
    for tag, place in pairs:
        key = (tag or 1, place)
        assert shard.add(tag, place) is (key not in model)
        model.add(key)


def test_text_that_is_no_unicode_is_told_apart_too() -> None:
    table = CustomIdTable()
    assert table.add("\ud800")
    assert not table.add("\ud800")
    assert table.add("\ud801")


def test_many_ids_take_at_most_thirty_bytes_each() -> None:
    tracemalloc.start()
    table = CustomIdTable()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for number in range(20_000):
        assert table.add(f"request-{number}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (peak - before) / 20_000 < 31
    assert not any(table.add(f"request-{number}") for number in range(0, 20_000, 7))


def test_the_table_is_the_same_in_every_process() -> None:
    program = (
        "from jobs.producers.custom_ids import CustomIdTable\n"
        "table = CustomIdTable()\n"
        "for number in range(50): table.add(str(number))\n"
        "print([shard._tags.tobytes().hex() for shard in table._shards])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
