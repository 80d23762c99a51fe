"""Tables and styled text on standard output.

Owns: what happens when its reader has gone away. Must not know: what is printed. Importing it loads
rich.
"""

import sys
from typing import TextIO

from rich.console import Console

from worker.streams import discard_output

__all__ = ["OutputConsole"]


class OutputConsole(Console):
    """Writes to `stream`, by default standard output. rich would end the command with exit code 1
    where a reader goes away (`headrace run ... | head -1`), whatever is still to be done.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(file=stream or sys.stdout, highlight=False)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard_output()
