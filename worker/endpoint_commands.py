"""The commands of the HTTP endpoint: serve, control.

Owns: their arguments. Must not know: how they do their work; that is imported when they run.
"""

from typing import Annotated

import typer

from worker.access_options import AccessOptions
from worker.endpoint_options import ControlCommand, ControlOptions, HttpOptions, ServeCommand
from worker.logging import configure_logging
from worker.option_groups import setting, with_groups
from worker.options import LogOptions, QueueOptions

__all__ = ["add_endpoint_commands"]


def add_endpoint_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command()(with_groups(serve))
    app.command()(with_groups(control))


def serve(
    http: HttpOptions,
    control: ControlOptions,
    access: AccessOptions,
    queue: QueueOptions,
    log: LogOptions,
) -> int:
    """Serve OpenAI's Files, Batches and Models over HTTP (SIGTERM drains)."""
    configure_logging(log_format=log.log_format, level=log.log_level)
    from worker.serve import serve_endpoint

    return serve_endpoint(ServeCommand(http=http, control=control, access=access, queue=queue))


def control(
    control: ControlOptions,
    queue: QueueOptions,
    log: LogOptions,
    host: Annotated[
        str, setting("--host", "Address that /metrics, /health and /ready listen on.")
    ] = "127.0.0.1",
    metrics_port: Annotated[
        int | None,
        setting(
            "--metrics-port",
            "Port of /metrics, /health and /ready; 0 picks a free one and logs it.",
            shown_default="off",
            min=0,
            max=65535,
        ),
    ] = None,
) -> int:
    """Run the batches of endpoints: check, enqueue, collect, finish."""
    configure_logging(log_format=log.log_format, level=log.log_level)
    from worker.control import run_control

    return run_control(
        ControlCommand(control=control, queue=queue, host=host, metrics_port=metrics_port)
    )
