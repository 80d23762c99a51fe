import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from jobs.tables.text_types import CsvTypes, JsonTypes, TextTypes


def type_of(types: TextTypes, *pieces: Sequence[Any]) -> Any:
    for piece in pieces:
        types.add([{"x": value} for value in piece])
    return types.schema().field("x").type


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([["1", None], ["-2"]], pa.int64()),
        ([["1"], ["2.5"]], pa.float64()),
        ([["1e3", "nan"]], pa.float64()),
        ([["true", "FALSE"]], pa.bool_()),
        ([["1", "0"]], pa.int64()),
        ([["true", "0"]], pa.string()),
        ([["1"], ["x"]], pa.string()),
        ([["007"]], pa.string()),
        ([["0x10"], ["0XFF"]], pa.string()),
        ([["0", "0.5"]], pa.float64()),
        ([["12345678901234567890"]], pa.string()),
        ([["1234567890123456"]], pa.int64()),
        ([["1234567890123456", "0.5"]], pa.string()),
        ([["2024-01-01"]], pa.string()),
        ([[None, None]], pa.string()),
    ],
)
def test_csv_types_fit_every_cell(pieces: list[list[str | None]], expected: Any) -> None:
    types = CsvTypes()
    found = type_of(types, *pieces)
    assert found == expected
    for piece in pieces:
        assert len(types.array(piece, found)) == len(piece)


def test_csv_cells_become_what_they_say() -> None:
    types = CsvTypes()
    assert types.array(["1", None], pa.int64()).to_pylist() == [1, None]
    assert types.array(["TRUE", "false"], pa.bool_()).to_pylist() == [True, False]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([[1, None], [2]], pa.int64()),
        ([[1], [2.5]], pa.float64()),
        ([[None], ["a"]], pa.string()),
        ([[True]], pa.bool_()),
        ([[True, 1]], pa.string()),
        ([[1], ["a"]], pa.string()),
        ([["a", 1]], pa.string()),
        ([[2**70]], pa.string()),
        ([[[], [1]], [[2.5]]], pa.list_(pa.float64())),
        ([[{"a": 1}], [{"b": "x"}]], pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ([[{"a": 1}], [{"a": "x"}]], pa.string()),
        ([[{}]], pa.string()),
        ([[{"a": {}}]], pa.string()),
        ([[[]]], pa.string()),
        ([[None]], pa.string()),
        ([["a", 1], ["b"], [2]], pa.string()),
        ([[1.5, True]], pa.string()),
        ([[True], [1.5]], pa.string()),
        ([[[[1.5], [True]]]], pa.string()),
        ([[{"a": 1.5}, {"a": True}]], pa.string()),
        ([[json.loads("[" * 60 + "1" + "]" * 60)]], pa.string()),
    ],
)
def test_json_types_fit_every_value(pieces: list[list[Any]], expected: Any) -> None:
    types = JsonTypes()
    found = type_of(types, *pieces)
    assert found == expected
    for piece in pieces:
        assert len(types.array(piece, found)) == len(piece)


def test_json_values_without_a_type_in_common_are_text() -> None:
    values = ["as it is", 1, {"a": "é"}, None]
    assert JsonTypes().array(values, pa.string()).to_pylist() == [
        "as it is",
        "1",
        '{"a":"é"}',
        None,
    ]


def test_large_integers_among_floats_are_rounded() -> None:
    (value, other) = JsonTypes().array([2**60 + 1, 0.5], pa.float64()).to_pylist()
    assert (value, other) == (float(2**60 + 1), 0.5)


def test_columns_stand_in_the_order_in_which_they_came_up() -> None:
    types = JsonTypes()
    types.add([{"b": 1}, {"a": 2}])
    types.add([{"c": None, "b": 3}])
    assert types.schema().names == ["b", "a", "c"]


def test_large_integers_inside_of_values_are_rounded_among_floats() -> None:
    types = JsonTypes()
    types.add([{"meta": {"v": 1.5, "w": [1.5]}}])
    types.add([{"meta": {"v": 2**60 + 1, "w": [2**60 + 1]}}])
    kind = types.schema().field("meta").type
    (value,) = types.array([{"v": 2**60 + 1, "w": [2**60 + 1]}], kind).to_pylist()
    assert value == {"v": float(2**60 + 1), "w": [float(2**60 + 1)]}
