"""`headrace run` itself as a chaos process: one file, a server of its own, killed and run again.

Owns: the command with a fake model. Must not know: when it dies.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.chaos.place import Place
from tests.chaos.sink_entry import dying_on_the_way_to_disk
from tests.chaos.worker_entry import fake_machine_of
from worker import cli, file_run, loading, run_plan
from worker.connection import queue_settings
from worker.errors import EXIT_OK, EXIT_ROWS_FAILED
from worker.machine import Machine

__all__ = ["run_command"]


def run_command(place: Place, name: str) -> Callable[[int], Callable[[], int]]:
    """The main function of each incarnation; it ends with code 0 when the run is complete."""

    def make(incarnation: int) -> Callable[[], int]:
        def main() -> int:
            with dying_on_the_way_to_disk(place.points(name, incarnation)) as points:

                def load(_config: object, names: tuple[str, ...]) -> Machine:
                    return fake_machine_of(place, points, names)

                run_plan.resolve_model = lambda *_: Path("/nowhere")
                run_plan.model_hash = lambda _: "hash"
                loading.load_machine = load
                file_run.queue_settings = lambda **given: replace(
                    queue_settings(**given), max_attempts=place.max_attempts
                )
                sys.argv = ["headrace", *_arguments(place)]
                code = cli.main(_arguments(place))
            return EXIT_OK if code in (EXIT_OK, EXIT_ROWS_FAILED) else code

        return main

    return make


def _arguments(place: Place) -> list[str]:
    return [
        *("run", str(place.input_path), "-o", str(place.output)),
        *("--served-model-name", place.model),
        *("--lease-seconds", str(max(place.lease_s, 0.5))),
    ]
