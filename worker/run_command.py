"""What the commands that run a file share: a bar or a log, starting over, how to go on.

Owns: the `--fresh` flag, the command that resumes an interruption, when the log is quiet. Must not
know: what is run.
"""

import shlex
import sys
from typing import Annotated

from worker.logging import configure_logging, redact_url
from worker.option_groups import setting
from worker.options import LogOptions, ServiceOptions

__all__ = ["Fresh", "log_beside_the_bar", "resume_command"]

Fresh = Annotated[
    bool, setting("--fresh", "Start over: forget what earlier runs computed.", shown_default="off")
]


def log_beside_the_bar(log: LogOptions, service: ServiceOptions) -> None:
    """Set up the log; a terminal that shows the bar needs it only if metrics are served too."""
    is_bar_enough = sys.stderr.isatty() and service.metrics_port is None
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=is_bar_enough)


def resume_command() -> str:
    """The command as it was typed, without --fresh, which would start over, and without passwords:
    it is shown where logs go.
    """
    arguments = [redact_url(argument) for argument in sys.argv[1:] if argument != "--fresh"]
    return shlex.join(["headrace", *arguments])
