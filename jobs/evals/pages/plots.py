"""Drawings for reports, as SVG that stands in the page.

Owns: geometry. Must not know: scores, rows. Colours are classes of style.css, so that they follow
the reader's light or dark mode. Every drawing has a title and repeats what a table says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

__all__ = ["Interval", "Pair", "bars", "histogram", "intervals", "pairs"]

_WIDTH, _LABELS, _VALUES = 780, 200, 150
_LEFT, _RIGHT = _LABELS, _WIDTH - _VALUES
_ROW = 28
_LABEL_CHARS = 27


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with what it may be; `text` stands at the end of its line."""

    label: str
    value: float
    low: float
    high: float
    text: str
    is_strong: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """Two values of one thing, before and after."""

    label: str
    before: float
    after: float
    text: str


def intervals(
    title: str, entries: Sequence[Interval], *, domain: tuple[float, float] = (0.0, 1.0)
) -> Markup:
    """A dot and a line for each entry, over an axis in per cent. With 0 inside the domain, a line
    marks it.
    """
    parts = [_axis(domain, len(entries))]
    for index, entry in enumerate(entries):
        y = _y(index)
        low, high, value = (_x(each, domain) for each in (entry.low, entry.high, entry.value))
        strong = " strong" if entry.is_strong else ""
        parts.append(
            f'<g class="entry{strong}">{_label(entry.label, y)}'
            f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="value" cx="{value:.1f}" cy="{y}" r="5"/>{_text(entry.text, y)}</g>'
        )
    return _drawing(title, "".join(parts), len(entries))


def pairs(title: str, entries: Sequence[Pair]) -> Markup:
    """A hollow dot for before, a filled one for after, and a line between them."""
    parts = [_axis((0.0, 1.0), len(entries))]
    for index, entry in enumerate(entries):
        y = _y(index)
        before, after = _x(entry.before, (0.0, 1.0)), _x(entry.after, (0.0, 1.0))
        kind = "better" if entry.after > entry.before else "worse"
        kind = "same" if entry.after == entry.before else kind
        parts.append(
            f'<g class="entry {kind}">{_label(entry.label, y)}'
            f'<line class="way" x1="{before:.1f}" x2="{after:.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="before" cx="{before:.1f}" cy="{y}" r="5"/>'
            f'<circle class="after" cx="{after:.1f}" cy="{y}" r="5"/>{_text(entry.text, y)}</g>'
        )
    return _drawing(title, "".join(parts), len(entries))


def bars(title: str, entries: Sequence[tuple[str, int]]) -> Markup:
    """A bar for each count."""
    most = max((count for _, count in entries), default=1)
    parts = []
    for index, (label, count) in enumerate(entries):
        y, width = _y(index), (_RIGHT - _LEFT) * count / most
        parts.append(
            f'<g class="entry">{_label(label, y)}<rect class="bar" x="{_LEFT}" y="{y - 9}" '
            f'width="{max(1.0, width):.1f}" height="18" rx="2"/>{_text(f"{count:,}", y)}</g>'
        )
    return _drawing(title, "".join(parts), len(entries), has_axis=False)


def histogram(title: str, right: Sequence[int], wrong: Sequence[int], unit: str) -> Markup:
    """How often each value is, right ones below and wrong ones on top of them."""
    values = [*right, *wrong]
    num_bins = max(1, min(30, len(set(values))))
    edges = np.histogram_bin_edges(values or [0], bins=num_bins)
    of_right, of_wrong = (np.histogram(part, bins=edges)[0] for part in (right, wrong))
    most = max(1, int((of_right + of_wrong).max()))
    left, right_end, top, bottom = 60, _WIDTH - 20, 16, 176
    step = (right_end - left) / num_bins
    parts = [
        f'<line class="axis" x1="{left}" x2="{right_end}" y1="{bottom}" y2="{bottom}"/>',
        f'<text class="tick" x="{left - 8}" y="{top + 4}" text-anchor="end">{most:,}</text>',
        f'<text class="tick" x="{left - 8}" y="{bottom}" text-anchor="end">0</text>',
    ]
    for index in range(num_bins):
        x = left + index * step
        below = (bottom - top) * int(of_right[index]) / most
        above = (bottom - top) * int(of_wrong[index]) / most
        size = f'x="{x + 0.5:.1f}" width="{max(1.0, step - 1):.1f}"'
        parts.append(f'<rect class="right" {size} y="{bottom - below:.1f}" height="{below:.1f}"/>')
        parts.append(
            f'<rect class="wrong" {size} y="{bottom - below - above:.1f}" height="{above:.1f}"/>'
        )
    for place, anchor, edge in ((left, "start", edges[0]), (right_end, "end", edges[-1])):
        parts.append(
            f'<text class="tick" x="{place}" y="{bottom + 18}" text-anchor="{anchor}">'
            f"{edge:,.0f}</text>"
        )
    middle = (left + right_end) / 2
    parts.append(
        f'<text class="tick" x="{middle}" y="{bottom + 18}" text-anchor="middle">'
        f"{escape(unit)}</text>"
    )
    return _svg(title, "".join(parts), bottom + 26)


def _axis(domain: tuple[float, float], num_rows: int) -> str:
    low, high = domain
    bottom = num_rows * _ROW + 6
    parts = []
    for tick in np.linspace(low, high, 5).tolist():
        x = _x(tick, domain)
        kind = "zero" if low < 0 and abs(tick) < 1e-9 else "grid"
        sign = "+" if low < 0 < tick else ""
        parts.append(
            f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{bottom}"/>'
            f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">'
            f"{sign}{tick * 100:.3g}%</text>"
        )
    return "".join(parts)


def _label(label: str, y: int) -> str:
    short = label if len(label) <= _LABEL_CHARS else label[: _LABEL_CHARS - 1] + "…"
    return (
        f'<text class="label" x="{_LABELS - 14}" y="{y + 4}" text-anchor="end">{escape(short)}'
        f"<title>{escape(label)}</title></text>"
    )


def _text(text: str, y: int) -> str:
    return f'<text class="number" x="{_RIGHT + 14}" y="{y + 4}">{escape(text)}</text>'


def _x(value: float, domain: tuple[float, float]) -> float:
    low, high = domain
    share = (min(max(value, low), high) - low) / (high - low)
    return _LEFT + (_RIGHT - _LEFT) * share


def _y(index: int) -> int:
    return index * _ROW + _ROW // 2 + 4


def _drawing(title: str, content: str, num_rows: int, *, has_axis: bool = True) -> Markup:
    return _svg(title, content, num_rows * _ROW + (30 if has_axis else 8))


def _svg(title: str, content: str, height: int) -> Markup:
    return Markup(  # noqa: S704 - every text in it is escaped above
        f'<svg role="img" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
        f"<title>{escape(title)}</title>{content}</svg>"
    )
