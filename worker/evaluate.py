"""`headrace eval`: a suite through the real queue and engine, and what the answers are worth.

Owns: the order of an evaluation. Must not know: scoring rules, how jobs run, flags.
"""

import logging
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from engine.model.source import resolve_model
from engine.model_hash import model_hash
from jobs.evals.cache import AnswerCache
from jobs.evals.demo import held_out_rows
from jobs.evals.manifest import EvalManifest, fingerprints_of, rows_hash
from jobs.evals.report import write_report
from jobs.evals.requests import is_sampled, to_send
from jobs.evals.results import read_results
from jobs.evals.rows import EvalRow, write_requests
from jobs.evals.score_files import write_scores
from jobs.evals.scores import ScoredRow, score_rows
from jobs.evals.suite import Suite, read_suite
from jobs.identity import request_hash
from jobs.sinks.target import Target, TargetKind, parse_target, prepare_target
from worker.errors import EXIT_OK, EXIT_ROWS_FAILED, SettingsError
from worker.eval_tables import print_scores
from worker.facts import settings_facts, version_facts
from worker.identity import engine_identity
from worker.names import served_names
from worker.options import engine_config
from worker.progress import Summary, print_summary
from worker.run import run_to_files
from worker.settings import RunSettings

__all__ = ["EvalSettings", "evaluate"]

_log = logging.getLogger(__name__)

_MAX_SAMPLES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSettings:
    """`suite` is "demo" or a suite file; `per_task` and `suite_seed` choose the demo's rows.
    `samples` and `pass_at` replace the suite's own; `limit` takes its first rows only. Answers are
    kept in `cache` and taken from there. `run.file` is ignored: the suite's requests take its
    place.
    """

    suite: str
    per_task: int
    suite_seed: int
    run: RunSettings
    samples: int | None = None
    pass_at: tuple[int, ...] = ()
    limit: int | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identity:
    """The model that answers: its name, and what a request's answer depends on besides it."""

    name: str
    model_hash: str
    engine: str


def evaluate(settings: EvalSettings) -> int:
    """Run the suite, print the scores and write them beside the results. Returns the exit code.

    An evaluation that was interrupted continues where it stopped, as any run does.
    Raises SettingsError, JobsError, EngineError, RunError, InterruptedRun.
    """
    started_s = monotonic()
    target = parse_target(settings.run.output)
    if target.kind is not TargetKind.FOLDER or target.path is None:
        raise SettingsError(f"-o {settings.run.output}: eval writes several files; give a folder")
    suite = _suite(settings)
    identity = _identity(settings.run)
    requests = target.path / "requests.jsonl"
    prepare_target(target, requests)
    target.path.mkdir(parents=True, exist_ok=True)
    sent = list(to_send(suite.rows, samples=suite.samples, seed=settings.run.process.model.seed))
    write_requests(sent, requests, model=identity.name)
    summary = _run(settings, sent, identity, target, started_s)
    results = [path for path in target.final_files() if path.suffix == ".parquet"]
    scored = score_rows(suite.rows, read_results(results, _prompts(suite.rows)))
    print_summary(summary)
    manifest = _manifest(settings, suite, identity, scored)
    for path in _write(target.path, suite, manifest, scored):
        sys.stdout.write(f"{path}\n")
    print_scores(scored, suite.pass_at)
    return EXIT_ROWS_FAILED if summary.num_failed else EXIT_OK


def _suite(settings: EvalSettings) -> Suite:
    """The suite with what the command line says instead."""
    if settings.suite == "demo":
        rows = tuple(held_out_rows(settings.per_task, seed=settings.suite_seed))
        suite = Suite(name="demo", rows=rows)
    else:
        suite = read_suite(Path(settings.suite))
    samples = settings.samples or suite.samples
    pass_at = settings.pass_at or suite.pass_at or ((1, samples) if samples > 1 else ())
    if not 1 <= samples <= _MAX_SAMPLES:
        raise SettingsError(f"--samples {samples}: give 1 to {_MAX_SAMPLES}")
    for k in pass_at:
        if not 1 <= k <= samples:
            raise SettingsError(f"--pass-at {k}: there are {samples} samples (--samples)")
    suite = replace(suite, samples=samples, pass_at=tuple(sorted(set(pass_at))))
    if settings.limit is not None:
        suite = replace(suite, rows=suite.rows[: settings.limit])
    if samples > 1 and not any(map(is_sampled, suite.rows)):
        _log.warning("every row is greedy, so each is asked once and not %d times", samples)
    return suite


def _identity(run: RunSettings) -> _Identity:
    config = engine_config(run.process.model, run.process.engine)
    digest = model_hash(resolve_model(config.model.model, config.model.revision))
    name = served_names(run.process.model)[0]
    return _Identity(name=name, model_hash=digest, engine=engine_identity(config, digest))


def _run(
    settings: EvalSettings,
    sent: list[EvalRow],
    identity: _Identity,
    target: Target,
    started_s: float,
) -> Summary:
    """Run the requests, with the answers that are kept already."""
    assert target.path is not None
    run = replace(settings.run, file=target.path / "requests.jsonl")
    if settings.cache is None:
        return run_to_files(run, target, started_s)
    cache = AnswerCache(settings.cache)
    wanted = {
        row.custom_id: request_hash({**row.body, "model": identity.name}, identity.engine)
        for row in sent
    }
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        kept = Path(folder) / "kept.parquet"
        if cache.find(wanted, kept):
            run = replace(run, known_results=(kept,))
        summary = run_to_files(run, target, started_s)
    cache.add(path for path in target.final_files() if path.suffix == ".parquet")
    return summary


def _prompts(rows: tuple[EvalRow, ...]) -> dict[str, str]:
    """Of the rows whose endings are scored."""
    return {row.custom_id: row.reference["prompt"] for row in rows if "prompt" in row.reference}


def _manifest(
    settings: EvalSettings, suite: Suite, identity: _Identity, scored: list[ScoredRow]
) -> EvalManifest:
    return EvalManifest(
        suite=suite.name,
        suite_path=None if settings.suite == "demo" else settings.suite,
        suite_hash=suite.digest,
        num_rows=len(suite.rows),
        samples=suite.samples,
        pass_at=suite.pass_at,
        model=identity.name,
        model_hash=identity.model_hash,
        fingerprints=fingerprints_of(scored),
        rows_hash=rows_hash(scored),
        settings=settings_facts(settings.run.process),
        versions=version_facts(),
    )


def _write(
    folder: Path, suite: Suite, manifest: EvalManifest, scored: list[ScoredRow]
) -> list[Path]:
    return [
        *write_scores(folder, scored, suite.pass_at),
        manifest.write(folder),
        *write_report(folder, manifest, scored),
    ]
