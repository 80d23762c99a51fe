"""Log lines on standard error, as text or as JSON.

Owns: the format and the level of the process's log. Must not know: what is logged. A line never
holds a prompt, a completion or a URL's password; callers log ids and counts.
"""

import json
import logging
import re
import sys
import time
from typing import Literal, TextIO

__all__ = ["configure_logging", "redact_url"]

_PASSWORD = re.compile(r"(?<=://)([^:@/?#\s]*):[^/?#\s]*@")  # which may hold an @ itself
_PASSWORD_OPTION = re.compile(r"(?<=[?&]password=)[^&#\s]*")
_NOISY_LOGGERS = ("asyncio", "filelock", "fsspec", "httpcore", "httpx", "urllib3")


def configure_logging(
    *, log_format: Literal["text", "json"] = "text", level: str = "info", quiet: bool = False
) -> None:
    """Send the log to standard error, replacing what was set before.

    `quiet` raises an "info" level to "warning": for a command whose progress bar says the same.
    """
    if quiet and level == "info":
        level = "warning"
    handler = _StderrHandler()
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def redact_url(url: str) -> str:
    """The URL without its password."""
    return _PASSWORD_OPTION.sub("***", _PASSWORD.sub(r"\1:***@", url))


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is now: a live progress bar replaces it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        raise AttributeError("the stream is always sys.stderr")


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base's name
        return _printable(super().formatMessage(record))


class _JsonFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _printable(text: str) -> str:
    """The text without control characters: a custom_id must not forge log lines or colours."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
