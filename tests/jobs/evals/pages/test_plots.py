"""Drawings: where things are, and what they are called."""

import re
from xml.etree import ElementTree

import pytest

from jobs.evals.pages.plots import Interval, Pair, bars, histogram, intervals, pairs


def parse(drawing: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


def numbers(drawing: str, element: str, attribute: str) -> list[float]:
    return [float(each.attrib[attribute]) for each in parse(drawing).iter(element)]


def test_intervals_lie_on_their_axis() -> None:
    drawing = intervals("t", [Interval("a", 0.5, 0.25, 1.0, "half"), Interval("b", 0, 0, 0, "")])
    left, right = 200, 630
    assert numbers(drawing, "circle", "cx") == [(left + right) / 2, left]
    (spread, _) = (one for one in parse(drawing).iter("line") if one.get("class") == "spread")
    assert float(spread.attrib["x1"]) == left + (right - left) / 4
    assert float(spread.attrib["x2"]) == right


def test_differences_lie_around_nothing() -> None:
    drawing = intervals("t", [Interval("a", 0.0, -0.1, 0.4, "")], domain=(-0.2, 0.2))
    (zero,) = (one for one in parse(drawing).iter("line") if one.get("class") == "zero")
    assert zero.attrib["x1"] == parse(drawing).find(".//circle").attrib["cx"]  # type: ignore[union-attr]
    assert "+20%" in drawing
    assert "-20%" in drawing


def test_pairs_say_which_way_they_went() -> None:
    drawing = pairs("t", [Pair("a", 0.1, 0.2, ""), Pair("b", 0.2, 0.1, ""), Pair("c", 1, 1, "")])
    assert re.findall(r'class="entry (\w+)"', drawing) == ["better", "worse", "same"]


def test_bars_are_as_long_as_they_count() -> None:
    assert numbers(bars("t", [("a", 4), ("b", 1)]), "rect", "width") == [430, 107.5]


def test_a_histogram_counts_every_value() -> None:
    drawing = histogram("t", [1, 1, 2], [9], "tokens")
    tall = [float(one.attrib["height"]) for one in parse(drawing).iter("rect")]
    assert sum(tall) == pytest.approx(160 * 4 / 3, abs=0.1)
    histogram("t", [5], [], "tokens")
    histogram("t", [], [], "tokens")


def test_texts_are_escaped_and_long_labels_cut() -> None:
    drawing = bars("<t>", [("<x>" * 20, 1)])
    root = parse(drawing)
    label = root.find(".//text")
    assert label is not None
    assert label.text is not None
    assert len(label.text) == 27
    assert label[0].text == "<x>" * 20
    assert root[0].text == "<t>"
