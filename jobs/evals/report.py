"""The report of one evaluation, as Markdown and as one HTML page.

Owns: what a report says. Must not know: how scores came about, how pages are drawn.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from jobs.evals.manifest import EvalManifest
from jobs.evals.markdown import table
from jobs.evals.pages.plots import Interval, bars, histogram, intervals
from jobs.evals.pages.rendering import percent, render, shortened
from jobs.evals.score_files import as_text, expected_text
from jobs.evals.scores import GroupScore, ScoredRow, group_scores, tag_scores

__all__ = ["group_cells", "write_report"]

_SHOWN_ROWS = 200
_SHOWN_REASONS = 12
_SHOWN_GROUPS = 60


def write_report(
    folder: Path, manifest: EvalManifest, scored: Sequence[ScoredRow]
) -> tuple[Path, Path]:
    """Write `report.md` and `report.html` into `folder`."""
    whole = GroupScore("all", tuple(scored))
    tasks, tags = group_scores(scored), tag_scores(scored)
    markdown, page = folder / "report.md", folder / "report.html"
    markdown.write_text(_markdown(manifest, whole, tasks, tags), encoding="utf-8")
    page.write_text(_page(manifest, whole, tasks, tags), encoding="utf-8", errors="replace")
    return markdown, page


def _markdown(
    manifest: EvalManifest,
    whole: GroupScore,
    tasks: Sequence[GroupScore],
    tags: Sequence[GroupScore],
) -> str:
    share = whole.share
    parts = [
        f"# {manifest.suite}: {manifest.model}\n",
        f"{percent(share.mean)} of {whole.num_rows:,} rows are right; 95% interval "
        f"{percent(share.low)} to {percent(share.high)}. {_samples(manifest)}{_failed(whole)}\n",
        _groups("task", [*tasks, *([whole] if len(tasks) > 1 else [])], manifest.pass_at),
    ]
    if tags:
        parts.append(_groups("tag", tags, manifest.pass_at))
    reasons = _reasons(whole)
    if reasons:
        parts.append(table(("what was wrong", "rows"), ((why, f"{n:,}") for why, n in reasons)))
    parts.append(table(("what ran", ""), _facts(manifest), num_texts=2))
    return "\n".join(parts)


def _samples(manifest: EvalManifest) -> str:
    return f"Each was asked {manifest.samples} times. " if manifest.samples > 1 else ""


def _failed(whole: GroupScore) -> str:
    if not whole.num_failed:
        return ""
    return f"{whole.num_failed:,} got an error instead of an answer and count as wrong."


def _groups(what: str, groups: Sequence[GroupScore], pass_at: Sequence[int]) -> str:
    heads = (what, "right", "rows", "score", "95% interval", *(f"pass@{k}" for k in pass_at))
    return table(heads, (group_cells(group, pass_at) for group in groups))


def group_cells(group: GroupScore, pass_at: Sequence[int]) -> list[str]:
    """One line of a table: name, right, rows, score, 95% interval, pass@k for each k."""
    share = group.share
    return [
        group.name,
        f"{group.num_right:,}",
        f"{group.num_rows:,}",
        percent(share.mean),
        f"{percent(share.low)} to {percent(share.high)}",
        *(percent(group.pass_at(k).mean) for k in pass_at),
    ]


def _page(
    manifest: EvalManifest,
    whole: GroupScore,
    tasks: Sequence[GroupScore],
    tags: Sequence[GroupScore],
) -> str:
    wrong = [entry for entry in whole.rows if entry.num_right < len(entry.verdicts)]
    reasons = _reasons(whole)
    values = {
        "title": f"{manifest.suite}: {manifest.model}",
        "manifest": manifest,
        "whole": whole,
        "tasks": tasks,
        "tags": tags,
        "pass_at": manifest.pass_at,
        "plot": _plot("Score per task", [*tasks, *([whole] if len(tasks) > 1 else [])], whole),
        "tag_plot": _plot("Score per tag", tags, whole),
        "lengths": _lengths(whole),
        "reasons": bars("Reasons of wrong rows", reasons) if reasons else None,
        "wrong": [_wrong(entry) for entry in wrong[:_SHOWN_ROWS]],
        "num_wrong": len(wrong),
        "facts": list(_facts(manifest)),
    }
    return render("report.html", values)


def _plot(title: str, groups: Sequence[GroupScore], whole: GroupScore) -> Markup:
    entries = [
        Interval(
            group.name,
            group.share.mean,
            group.share.low,
            group.share.high,
            f"{percent(group.share.mean)} of {group.num_rows:,}",
            is_strong=group is whole,
        )
        for group in groups[-_SHOWN_GROUPS:]
    ]
    return intervals(title, entries)


def _lengths(whole: GroupScore) -> Markup | None:
    """None where nothing was generated."""
    by_verdict: dict[bool, list[int]] = {True: [], False: []}
    for entry in whole.rows:
        if entry.result.error is None and entry.result.completion_tokens:
            is_right = entry.num_right == len(entry.verdicts)
            by_verdict[is_right].append(entry.result.completion_tokens)
    if not any(by_verdict.values()):
        return None
    return histogram("Output tokens per row", by_verdict[True], by_verdict[False], "output tokens")


def _reasons(whole: GroupScore) -> list[tuple[str, int]]:
    counted = Counter(
        entry.reason if entry.result.error is None else f"error: {entry.reason}"
        for entry in whole.rows
        if entry.reason
    )
    return counted.most_common(_SHOWN_REASONS)


def _wrong(entry: ScoredRow) -> dict[str, Any]:
    num_right, total = entry.num_right, len(entry.verdicts)
    return {
        "custom_id": entry.row.custom_id,
        "task": entry.row.task,
        "reason": entry.reason,
        "share": f"{num_right} of {total} samples right" if total > 1 else "",
        "question": shortened(entry.row.question),
        "expected": shortened(expected_text(entry.row.reference)),
        "answer": shortened(as_text(entry.shown)) if entry.shown is not None else "",
    }


def _facts(manifest: EvalManifest) -> Iterator[tuple[str, str]]:
    yield "suite", manifest.suite_path or manifest.suite
    yield "suite hash", manifest.suite_hash
    yield "model", str(manifest.settings.get("model", manifest.model))
    yield "model hash", manifest.model_hash
    for name, count in manifest.fingerprints.items():
        yield "engine fingerprint", f"{name} ({count:,} rows)"
    yield "rows hash", manifest.rows_hash
    for name in ("dtype", "quantization", "kv_cache_dtype", "device", "seed", "deterministic"):
        if manifest.settings.get(name) is not None:
            yield f"--{name.replace('_', '-')}", str(manifest.settings[name])
    yield "versions", ", ".join(f"{name} {value}" for name, value in manifest.versions.items())
