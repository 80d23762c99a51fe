"""The command that measures speed: `bench`.

Owns: its arguments. Must not know: how it works; that is imported when it runs.
"""

import re
from typing import Annotated

import typer

from worker.errors import SettingsError
from worker.logging import configure_logging
from worker.option_groups import setting, with_groups
from worker.options import EngineOptions, LogOptions, ModelOptions, engine_config

__all__ = ["add_measuring_commands"]

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def add_measuring_commands(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command()(with_groups(bench))


def bench(
    model: ModelOptions,
    engine: EngineOptions,
    log: LogOptions,
    workload: Annotated[
        str,
        setting(
            "--workload",
            "W1 (chat), W2 (shared prefixes), W3 (long prompts), W4 (growing conversations), W1s "
            "to W4s (an eighth of each), or custom.",
        ),
    ] = "custom",
    num_requests: Annotated[
        int, setting("--num-requests", "Requests of a custom workload.", min=1)
    ] = 64,
    prompt_tokens: Annotated[
        str, setting("--prompt-tokens", "Prompt length of a custom workload: 512 or 128-512.")
    ] = "128-512",
    output_tokens: Annotated[
        str, setting("--output-tokens", "Answer length of a custom workload: 64 or 16-128.")
    ] = "64",
    shared_prefix_tokens: Annotated[
        int,
        setting(
            "--shared-prefix-tokens",
            "How many tokens all prompts of a custom workload begin with in common.",
            min=0,
        ),
    ] = 0,
    rate: Annotated[
        float | None,
        setting(
            "--rate",
            "Requests per second that arrive, at random times.",
            shown_default="all at once",
            min=0.001,
        ),
    ] = None,
    repeat: Annotated[int, setting("--repeat", "Runs, one after the other.", min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per run.")] = False,
) -> int:
    """Measure how fast a model runs here: throughput and latencies of the engine alone."""
    from time import monotonic

    started_s = monotonic()
    configure_logging(log_format=log.log_format, level=log.log_level)
    from worker.benchmark.run import BenchSettings
    from worker.benchmark.run import bench as measure
    from worker.benchmark.workloads import Shape

    shape = Shape(
        prompt=_token_range("--prompt-tokens", prompt_tokens),
        output=_token_range("--output-tokens", output_tokens),
        shared_prefix=shared_prefix_tokens,
    )
    settings = BenchSettings(
        workload=workload,
        shape=shape,
        num_requests=num_requests,
        rate=rate,
        repeat=repeat,
        as_json=as_json,
        seed=model.seed,
    )
    return measure(settings, model, engine_config(model, engine), started_s)


def _token_range(flag: str, text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text.strip())
    low = int(match[1]) if match else 0
    high = int(match[2] or low) if match else 0
    if low < 1 or high < low:
        raise SettingsError(f"{flag} {text!r}: give a number of tokens, or two such as 128-512")
    return low, high
