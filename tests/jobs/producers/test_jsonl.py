import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InputChangedError
from jobs.identity import request_hash
from jobs.producers.jsonl import JsonlProducer, check_strictly
from jobs.producers.lines import open_input
from jobs.producers.windows import Item, ProducerReport, ProducerSettings
from jobs.queue import FinishedRow, NewJob, Outcome
from tests.jobs.builders import make_line, make_row, write_lines

SMALL = ProducerSettings(window_lines=10, chunk_items=4)


def items_of(producer: JsonlProducer) -> list[Item]:
    return [item for chunk in producer.chunks() for item in chunk]


def producer_of(path: Path, lines: Sequence[bytes], **options: Any) -> JsonlProducer:
    return JsonlProducer(open_input(write_lines(path, lines)), **options)


def question(number: int, system: str, text: str = "") -> bytes:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": f"{text}"}]
    return make_line(number, body={"messages": messages})


def test_every_line_that_is_not_blank_is_one_item(tmp_path: Path) -> None:
    lines = [make_line(0), b"", b"bad", make_line(1, body={"model": "x"}), b" ", make_line(0)]
    producer = producer_of(tmp_path / "x", lines, served_models={"demo"}, settings=SMALL)
    by_idx = {item.idx: item for item in items_of(producer)}
    assert sorted(by_idx) == [0, 1, 2, 3]
    assert [type(by_idx[idx]) for idx in range(4)] == [NewJob] + [FinishedRow] * 3
    assert producer.report == ProducerReport(num_lines=6, num_blank=2, num_jobs=1, num_bad=3)
    bad = by_idx[1]
    assert isinstance(bad, FinishedRow)
    assert b"line 3: " in bad.payload, "blank lines count"


@pytest.mark.parametrize("data", [b"", b"\n\n \n", b"\xef\xbb\xbf"])
def test_a_file_without_lines_has_no_items(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert list(JsonlProducer(open_input(tmp_path / "x")).chunks()) == []


def test_lines_with_a_common_beginning_stand_together_within_a_window(tmp_path: Path) -> None:
    lines = [question(number, f"system {number % 3}", f"{number}") for number in range(30)]
    producer = producer_of(tmp_path / "x", lines, settings=ProducerSettings(window_lines=15))
    order = [item.idx for item in items_of(producer)]
    assert sorted(order[:15]) == list(range(15)), "windows keep their lines"
    systems = [idx % 3 for idx in order]
    assert systems == [0] * 5 + [1] * 5 + [2] * 5 + [0] * 5 + [1] * 5 + [2] * 5


def test_equal_prompts_keep_their_order(tmp_path: Path) -> None:
    lines = [question(number, "same") for number in range(8)]
    producer = producer_of(tmp_path / "x", lines)
    assert [item.idx for item in items_of(producer)] == list(range(8))


def test_the_order_depends_on_the_file_alone(tmp_path: Path) -> None:
    """Neither on who serves, nor on what is known already, nor on how far it got before."""
    order = random.Random(5)
    lines = [
        question(number, f"s{order.randrange(4)}", f"{order.random()}") for number in range(50)
    ]
    lines[7] = b"broken"
    lines[9] = make_line(9, body={"temperature": 99})
    known = Known({f"request-{number}" for number in range(0, 50, 3)})
    one = producer_of(tmp_path / "x", lines, settings=SMALL)
    two = JsonlProducer(
        open_input(tmp_path / "x"), served_models={"other"}, known=known, settings=SMALL
    )
    expected = [item.idx for item in items_of(one)]
    assert [item.idx for item in items_of(two)] == expected
    next(one.chunks())
    assert [item.idx for item in items_of(one)] == expected
    assert one.report.num_jobs == 48, "counts start anew with each iteration"


class Known:
    """Knows the rows of some custom_ids."""

    engine_identity = "engine"

    def __init__(self, custom_ids: set[str]) -> None:
        self.custom_ids = custom_ids
        self.hashes: dict[str, str] = {}

    def find(self, wanted: Sequence[tuple[NewJob, str]]) -> dict[int, FinishedRow]:
        self.hashes |= {job.custom_id or "": hash_ for job, hash_ in wanted}
        return {
            job.idx: FinishedRow(
                idx=job.idx,
                custom_id=job.custom_id,
                outcome=Outcome.OK,
                payload=make_row(job.idx).encode(),
            )
            for job, _ in wanted
            if job.custom_id in self.custom_ids
        }


def test_known_rows_take_the_place_of_their_jobs(tmp_path: Path) -> None:
    lines = [make_line(0), make_line(1), b"bad", make_line(3, body={"max_tokens": 1})]
    known = Known({"request-1"})
    producer = producer_of(tmp_path / "x", lines, known=known, settings=SMALL)
    by_idx = {item.idx: item for item in items_of(producer)}
    assert isinstance(by_idx[1], FinishedRow)
    assert by_idx[1].outcome is Outcome.OK
    assert isinstance(by_idx[0], NewJob)
    assert producer.report == ProducerReport(num_lines=4, num_jobs=2, num_bad=1, num_reused=1)
    body = json.loads(lines[3])["body"]
    assert known.hashes["request-3"] == request_hash(body, "engine")


def test_windows_and_chunks_are_bounded_in_bytes_too(tmp_path: Path) -> None:
    lines = [question(number, f"{number % 2}", "x" * 1000) for number in range(20)]
    settings = ProducerSettings(window_bytes=5000, chunk_bytes=2500, chunk_items=100)
    producer = producer_of(tmp_path / "x", lines, settings=settings)
    chunks = list(producer.chunks())
    assert max(len(chunk) for chunk in chunks) == 3
    order = [item.idx for chunk in chunks for item in chunk]
    assert order[:5] == [0, 2, 4, 1, 3]
    assert sorted(order) == list(range(20))


def test_a_changed_file_never_comes_to_its_end(tmp_path: Path) -> None:
    lines = [make_line(number) for number in range(25)]
    producer = producer_of(tmp_path / "x", lines, settings=SMALL)
    write_lines(tmp_path / "x", [*lines, make_line(25)])
    seen: list[Item] = []
    with pytest.raises(InputChangedError):
        seen.extend(item for chunk in producer.chunks() for item in chunk)
    assert len(seen) == 20


class TestStrictly:
    def check(self, path: Path, lines: Sequence[bytes]) -> list[tuple[int | None, str | None]]:
        source = open_input(write_lines(path, lines))
        errors = check_strictly(source, served_models={"demo"})
        return [(each.line, each.error.code) for each in errors]

    def test_a_good_file_has_no_errors(self, tmp_path: Path) -> None:
        assert self.check(tmp_path / "x", [make_line(0), b"", make_line(1)]) == []

    def test_all_bad_lines_are_named(self, tmp_path: Path) -> None:
        lines = [
            make_line(0),
            b"",
            b"bad",
            make_line(0),
            make_line(1, url="/v1/x"),
            make_line(2, body={"stream": True}),
            make_line(3, body={"model": "unknown"}),
        ]
        assert self.check(tmp_path / "x", lines) == [
            (3, "invalid_json_line"),
            (4, "duplicate_custom_id"),
            (5, "invalid_url"),
            (6, "streaming_unsupported"),
            (7, "model_not_found"),
        ]

    def test_bad_parameter_values_fail_alone(self, tmp_path: Path) -> None:
        lines = [make_line(0, body={"temperature": 99}), make_line(1, body={"echo": True})]
        assert self.check(tmp_path / "x", lines) == []

    @pytest.mark.parametrize("lines", [[], [b"", b"  "]])
    def test_an_empty_file_is_an_error(self, tmp_path: Path, lines: list[bytes]) -> None:
        assert self.check(tmp_path / "x", lines) == [(None, "empty_file")]

    def test_the_list_is_bounded_and_says_so(self, tmp_path: Path) -> None:
        found = self.check(tmp_path / "x", [b"bad"] * 1500)
        assert len(found) == 1001
        assert found[999] == (1000, "invalid_json_line")
        assert found[1000] == (None, "too_many_errors")
