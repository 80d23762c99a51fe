import itertools
import random
import tracemalloc
from pathlib import Path

import pytest

from jobs.errors import InputChangedError
from jobs.producers.classify import LineSettings
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import open_input
from jobs.producers.twins import Twins
from jobs.producers.windows import Item, ProducerSettings
from jobs.queue import FinishedRow, NewJob
from tests.jobs.builders import make_line, write_lines

SHARING = LineSettings(shares_answers=True)
SMALL = ProducerSettings(window_lines=10, chunk_items=4, lines=SHARING)


def asking(number: int, kind: int, **more: object) -> bytes:
    content = [{"role": "user", "content": f"kind {kind}"}]
    return make_line(number, body={"messages": content, "temperature": 0, **more})


def items_of(path: Path, lines: list[bytes], settings: ProducerSettings = SMALL) -> list[Item]:
    producer = JsonlProducer(open_input(write_lines(path, lines)), settings=settings)
    items = [item for chunk in producer.chunks() for item in chunk]
    assert items == [item for chunk in producer.chunks() for item in chunk], "the same again"
    report = producer.report
    assert report.num_jobs + report.num_bad == len(items)
    return items


def test_lines_like_an_earlier_one_follow_it_at_once(tmp_path: Path) -> None:
    kinds = [n % 37 for n in range(200)]
    items = items_of(tmp_path / "x", [asking(n, kind) for n, kind in enumerate(kinds)])
    assert sorted(item.idx for item in items) == list(range(200))
    order = [kinds[item.idx] for item in items]
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert changes == 36, "each kind stands together"
    for item in items:
        assert item.custom_id == f"request-{item.idx}"
        assert isinstance(item, NewJob)
        assert f"kind {kinds[item.idx]}".encode() in item.body


def test_answers_left_to_chance_and_bad_lines_keep_their_place(tmp_path: Path) -> None:
    lines = [
        asking(0, 1),
        asking(1, 1, temperature=1),
        b"",
        asking(0, 1),  # a custom_id that line 1 has
        b"no json",
        asking(4, 1, temperature=9),
        asking(5, 1, temperature=1, seed=3),
        asking(6, 1),
        asking(7, 1, temperature=1, seed=3),
    ]
    items = items_of(tmp_path / "x", lines)
    assert sorted(item.idx for item in items) == list(range(8))
    by_idx = {item.idx: item for item in items}
    refused = {idx for idx, item in by_idx.items() if isinstance(item, FinishedRow)}
    assert refused == {2, 3, 4}
    order = [item.idx for item in items]
    assert order.index(6) == order.index(0) + 1
    assert order.index(7) == order.index(5) + 1


def test_a_custom_id_belongs_to_its_first_line_wherever_its_answer_goes(tmp_path: Path) -> None:
    lines = [asking(0, 1), *(asking(n, n) for n in range(2, 40)), asking(7, 1)]
    items = {item.idx: item for item in items_of(tmp_path / "x", lines)}
    refused = items[39]
    assert isinstance(refused, FinishedRow)
    assert b"duplicate" in refused.payload
    assert isinstance(items[6], NewJob)


@pytest.mark.parametrize("seed", range(5))
def test_any_mixture_is_complete_and_grouped(tmp_path: Path, seed: int) -> None:
    draws = random.Random(seed)
    kinds = [draws.randrange(20) for _ in range(150)]
    lines: list[bytes] = []
    for number, kind in enumerate(kinds):
        lines += [b"  "] * draws.randrange(2)
        lines.append(asking(number, kind))
    items = items_of(tmp_path / "x", lines)
    assert sorted(item.idx for item in items) == list(range(150))
    seen: list[int] = []
    for item in items:
        kind = kinds[item.idx]
        assert kind not in seen or seen[-1] == kind
        if kind not in seen:
            seen.append(kind)


def test_without_sharing_the_order_is_as_ever(tmp_path: Path) -> None:
    lines = [asking(n, n % 3) for n in range(30)]
    settings = ProducerSettings(window_lines=10)
    order = [item.idx for item in items_of(tmp_path / "x", lines, settings)]
    assert sorted(order[:10]) == list(range(10)), "windows keep their lines"


def test_a_file_that_is_overwritten_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x", [asking(n, 1) for n in range(5)])
    source = open_input(path)
    twins = Twins.find(source, SHARING, None)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(InputChangedError):
        list(twins.after(0))


def test_many_lines_of_one_kind_are_never_all_in_memory(tmp_path: Path) -> None:
    filler = "x" * 2_000
    path = tmp_path / "x"
    with path.open("wb") as file:
        for number in range(8_000):
            file.write(asking(number, 1, user=filler) + b"\n")
    producer = JsonlProducer(open_input(path), settings=ProducerSettings(lines=SHARING))
    tracemalloc.start()
    num_items = sum(len(chunk) for chunk in producer.chunks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_items == 8_000
    assert peak < 8 << 20, f"{peak >> 20} MB for a file of {path.stat().st_size >> 20} MB"
