"""The id of the request that is being answered, wherever a log line is written.

Owns: the context variable and the logging filter that shows it. Must not know: HTTP.
"""

import logging
from contextvars import ContextVar

__all__ = ["RequestIdFilter", "request_id"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class RequestIdFilter(logging.Filter):
    """Ends the lines that are written while a request is answered with its id."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = request_id.get()
        if current is not None and current not in record.getMessage():
            record.msg = f"{record.getMessage()} ({current})"
            record.args = ()
        return True
