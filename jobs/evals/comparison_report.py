"""A comparison as Markdown, as one HTML page and as JSON.

Owns: what they say, and the notices that belong to every form. Must not know: how rows were paired.
"""

import json
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from markupsafe import Markup

from jobs.evals.comparison import Comparison, GroupComparison, PairedRow
from jobs.evals.markdown import table
from jobs.evals.pages.plots import Interval, Pair, intervals, pairs
from jobs.evals.pages.rendering import percent, render, shortened, signed_percent
from jobs.evals.score_files import ScoreLine

__all__ = ["notices", "shown_answer", "write_comparison"]

_SHOWN_ROWS = 200
_SHOWN_GROUPS = 60


def notices(found: Comparison) -> list[str]:
    """What a reader has to know before the numbers."""
    return list(_notices(found))


def shown_answer(line: ScoreLine) -> str:
    """The answers of all samples, or why there is none."""
    return "\n---\n".join(line.answers) if line.answers else line.reason


def write_comparison(folder: Path, found: Comparison, names: tuple[str, str]) -> list[Path]:
    """Write comparison.md, comparison.html and comparison.json; `names` are the folders compared.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "comparison.md": _markdown(found, names),
        "comparison.html": _page(found, names),
        "comparison.json": json.dumps(_as_json(found), indent=2, ensure_ascii=False) + "\n",
    }
    paths = []
    for name, content in contents.items():
        path = folder / name
        path.write_text(content, encoding="utf-8", errors="replace")
        paths.append(path)
    return paths


def _notices(found: Comparison) -> Iterator[str]:
    if found.is_other_engine:
        yield (
            "The engine fingerprint is not the same: the model, number format, device, threads, "
            "instruction set or versions differ, and answers may differ by that alone."
        )
    for name, manifest in (("A", found.before), ("B", found.after)):
        if len(manifest.fingerprints) > 1:
            yield f"The rows of {name} come from {len(manifest.fingerprints)} different engines."
    if found.before.samples != found.after.samples:
        yield f"A has {found.before.samples} samples of each row, B has {found.after.samples}."
    if found.num_changed_rows:
        yield (
            f"{found.num_changed_rows:,} rows have the same id and another question, reference or "
            "scorer; they are left out."
        )
    for name, count in (("A", found.num_only_before), ("B", found.num_only_after)):
        if count:
            yield f"{count:,} rows are in {name} only; they are left out."


def _markdown(found: Comparison, names: tuple[str, str]) -> str:
    parts = [
        f"# {found.after.suite}: B against A\n",
        f"A: {found.before.model} in `{names[0]}`. B: {found.after.model} in `{names[1]}`.\n",
        f"{found.sentence}\n",
        *(f"- {notice}" for notice in notices(found)),
        "",
        _groups("task", [*found.tasks, *([found.whole] if len(found.tasks) > 1 else [])]),
    ]
    if found.tags:
        parts.append(_groups("tag", found.tags))
    if found.changed:
        heads = ("row", "task", "A", "B", "expected", "answer of A", "answer of B")
        parts.append(table(heads, map(_row_cells, found.changed[:_SHOWN_ROWS]), num_texts=7))
    if found.changes:
        cells = ((change.what, change.before, change.after) for change in found.changes)
        parts.append(table(("not the same", "A", "B"), cells, num_texts=3))
    return "\n".join(parts)


def _groups(what: str, groups: Sequence[GroupComparison]) -> str:
    heads = (what, "rows", "A", "B", "points", "95% interval", "better", "worse", "p")
    return table(heads, map(_cells, groups))


def _cells(group: GroupComparison) -> list[str]:
    found = group.difference
    return [
        group.name,
        f"{group.num_rows:,}",
        percent(group.before),
        percent(group.after),
        signed_percent(found.mean),
        f"{signed_percent(found.low)} to {signed_percent(found.high)}",
        f"{group.num_better:,}",
        f"{group.num_worse:,}",
        f"{group.p:.3g}",
    ]


def _row_cells(row: PairedRow) -> list[str]:
    before, after = row.before, row.after
    return [
        *(before.custom_id, before.task, percent(before.score), percent(after.score)),
        *(before.expected, shown_answer(before), shown_answer(after)),
    ]


def _page(found: Comparison, names: tuple[str, str]) -> str:
    groups = [*found.tasks, *([found.whole] if len(found.tasks) > 1 else [])][-_SHOWN_GROUPS:]
    values = {
        "title": f"{found.after.suite}: B against A",
        "comparison": found,
        "names": names,
        "notices": notices(found),
        "plot": pairs("Score per task in A and B", [_pair(group) for group in groups]),
        "differences": _differences("Difference per task", groups, found.whole),
        "tag_differences": _differences("Difference per tag", found.tags, found.whole),
        "rows": [_shown(row) for row in found.changed[:_SHOWN_ROWS]],
        "num_changed": len(found.changed),
        "changes": found.changes,
    }
    return render("comparison.html", values)


def _pair(group: GroupComparison) -> Pair:
    text = f"{percent(group.before)} → {percent(group.after)}"
    return Pair(group.name, group.before, group.after, text)


def _differences(title: str, groups: Sequence[GroupComparison], whole: GroupComparison) -> Markup:
    shown = groups[-_SHOWN_GROUPS:]
    ends = [abs(end) for one in shown for end in (one.difference.low, one.difference.high)]
    reach = min(1.0, ceil(max([0.05, *ends]) * 10) / 10)
    entries = [
        Interval(
            group.name,
            group.difference.mean,
            group.difference.low,
            group.difference.high,
            f"{signed_percent(group.difference.mean)}, p = {group.p:.2g}",
            is_strong=group is whole,
        )
        for group in shown
    ]
    return intervals(title, entries, domain=(-reach, reach))


def _shown(row: PairedRow) -> dict[str, Any]:
    before, after = row.before, row.after
    return {
        "custom_id": before.custom_id,
        "task": before.task,
        "is_better": row.change > 0,
        "scores": f"{percent(before.score)} → {percent(after.score)}",
        "reason": after.reason if row.change < 0 else before.reason,
        "question": shortened(before.question),
        "expected": shortened(before.expected),
        "before": shortened(shown_answer(before)),
        "after": shortened(shown_answer(after)),
    }


def _as_json(found: Comparison) -> dict[str, Any]:
    return {
        "format": 1,
        "sentence": found.sentence,
        "notices": notices(found),
        "overall": _group_json(found.whole),
        "tasks": {group.name: _group_json(group) for group in found.tasks},
        "tags": {group.name: _group_json(group) for group in found.tags},
        "same_answers": found.num_same_answers,
        "left_out": {
            "only_a": found.num_only_before,
            "only_b": found.num_only_after,
            "changed": found.num_changed_rows,
        },
        "changed_rows": [
            {"custom_id": row.before.custom_id, "a": row.before.score, "b": row.after.score}
            for row in found.changed
        ],
        "not_the_same": [
            {"what": change.what, "a": change.before, "b": change.after} for change in found.changes
        ],
    }


def _group_json(group: GroupComparison) -> dict[str, Any]:
    found = group.difference
    return {
        "rows": group.num_rows,
        "a": round(group.before, 6),
        "b": round(group.after, 6),
        "difference": round(found.mean, 6),
        "low": round(found.low, 6),
        "high": round(found.high, 6),
        "better": group.num_better,
        "worse": group.num_worse,
        "p": group.p,
        "test": group.test,
    }
