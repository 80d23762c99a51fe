"""Errors of the engine.

EngineError
├── ModelRefusedError    a checkpoint that cannot run here; the message names it and says why
├── CacheSizeError       the KV cache does not fit, or holds less than one request
├── GrammarError         a grammar that cannot be enforced, and why
├── GrammarPendingError  a grammar is not compiled yet, and the caller does not wait for it
├── RequestError         one bad request: fails alone, with an OpenAI-style code and parameter
├── StepError            a forward pass failed; the core retries its requests one by one
├── DeviceLostError      the device computes nothing any more; only a new process helps
└── EngineClosedError    the engine was closed while a request waited in it
"""

__all__ = [
    "CacheSizeError",
    "DeviceLostError",
    "EngineClosedError",
    "EngineError",
    "GrammarError",
    "GrammarPendingError",
    "ModelRefusedError",
    "RequestError",
    "StepError",
]


class EngineError(Exception):
    """Anything the engine raises on purpose."""


class ModelRefusedError(EngineError):
    """The checkpoint cannot run: a missing file, an architecture or format we do not support."""


class CacheSizeError(EngineError):
    """The KV cache does not fit into memory, or cannot hold one request of full length."""


class GrammarError(EngineError):
    """A grammar or schema that cannot be enforced: malformed, not supported or too expensive. The
    message is the reason alone, to follow a colon.
    """


class GrammarPendingError(EngineError):
    """A grammar would take longer to compile than the caller waits. Says nothing about it."""


class RequestError(EngineError):
    """A request that can not run, whatever the engine does.

    `code` and `param` are OpenAI's words for it (such as "context_length_exceeded", "messages").
    """

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class StepError(EngineError):
    """A step failed on the device."""


class DeviceLostError(EngineError):
    """The device failed for good: no request is known to be to blame, none can run here again."""


class EngineClosedError(EngineError):
    """The engine stopped before the request was finished."""
