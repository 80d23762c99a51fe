"""A run of which every row is there already.

Owns: the answer from the files alone. Must not know: Redis, engines.
"""

import json
import logging
from pathlib import Path
from time import monotonic

from jobs.result_store import open_result_store
from jobs.sinks.counts import RowCounts
from jobs.sinks.final import write_final_files
from jobs.sinks.manifest import RunFacts
from jobs.sinks.remote import are_all_uploaded, uploaded_files
from jobs.sinks.target import Target, TargetKind
from worker.facts import settings_facts
from worker.progress import Summary
from worker.run_plan import RunPlan

__all__ = ["answer_from_files", "summary_of"]

_log = logging.getLogger(__name__)

_COUNTED = [
    *("status_code", "error_code", "prompt_tokens", "cached_tokens", "completion_tokens"),
    "reasoning_tokens",
]


def answer_from_files(plan: RunPlan, started_s: float) -> Summary | None:
    """Count the rows of the finished run; write its final files again if one is gone. None if some
    of its rows are: parts were damaged or removed since, and the run has to compute them again.

    Raises StoreError, InputError.
    """
    store = open_result_store(plan.target, plan.folder.parts_folder, plan.batch_id)
    lines = plan.source.count()
    num_missing = lines.num_lines - lines.num_blank - len(store.done)
    if num_missing > 0:  # the store has said what is damaged
        _log.warning("%d rows of the finished run are gone from its state folder", num_missing)
        return None
    counts = RowCounts()
    for part in store.parts:
        counts.add(store.read(part, _COUNTED))
    files = _files_of(plan.target)
    if not _are_all_there(plan.target):
        files = write_final_files(
            plan.target, store, facts=_facts(plan), make_writer=plan.source.make_writer
        ).files
    return summary_of(counts, num_reused=counts.num_rows, started_s=started_s, files=files)


def summary_of(
    counts: RowCounts,
    *,
    num_reused: int,
    started_s: float,
    files: tuple[Path | str, ...],
    num_generated: int = 0,
    computing_s: float = 0.0,
) -> Summary:
    """The summary of a command that began at `started_s` (`time.monotonic()`)."""
    return Summary(
        num_ok=counts.num_ok,
        num_failed=counts.num_rows - counts.num_ok,
        num_reused=num_reused,
        prompt_tokens=counts.prompt_tokens,
        cached_tokens=counts.cached_tokens,
        completion_tokens=counts.completion_tokens,
        num_generated_tokens=num_generated,
        computing_s=computing_s,
        wall_s=monotonic() - started_s,
        files=files,
    )


def _facts(plan: RunPlan) -> RunFacts:
    """What is known without running anything; the settings are those of the run that ran."""
    return RunFacts(
        input_path=plan.source.name,
        input_sha256=plan.source.sha256,
        model=plan.names[0],
        model_hash=plan.model_hash,
        settings={**settings_facts(plan.settings.process), **plan.source.settings},
    )


def _files_of(target: Target) -> tuple[Path | str, ...]:
    """The result files that exist now."""
    return tuple(target.final_files() if target.url is None else uploaded_files(target))


def _are_all_there(target: Target) -> bool:
    if target.url is not None:
        return are_all_uploaded(target)
    if target.kind is not TargetKind.FOLDER or target.path is None:
        return bool(target.final_files())
    try:
        listed = json.loads((target.path / "run.json").read_bytes())["files"]
        return all((target.path / name).is_file() for name in listed)
    except (OSError, ValueError, KeyError, TypeError):
        return False
