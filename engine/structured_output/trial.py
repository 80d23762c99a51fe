"""The process in which grammars are tried before the engine compiles them.

Owns: a small process without model or torch that forks for each grammar, under limits of processor
time, memory and stack. Compiling is native code: a hostile schema may make it run for minutes, take
gigabytes or overflow its stack, and all of that then ends a child that nobody misses. Must not
know: requests. The two sides speak in length-prefixed JSON over the process's pipes.

This module is also the program that runs there (`main`); so it imports the library and nothing of
ours but the limits.
"""

import json
import os
import resource
import select
import signal
import struct
import sys
import time
from typing import IO, Any

from llguidance import LLMatcher, LLTokenizer

from engine.structured_output.limits import GrammarLimits, parser_limits

__all__ = ["main", "read_message", "try_grammar", "write_message"]

_STACK_BYTES = 2 * 2**20  # far below what a thread has that compiles for real
_WALL_SHARE = 5  # a machine that is busy gives a process less than all of its time
_DEAD_END = "NoExtensionBias"  # no token goes on, and the grammar does not accept
# What the library sets up once, children then find set up.
_WARM_UP = '{"grammars":[{"json_schema":{"type":"object"}}]}'
_LENGTH = struct.Struct(">I")
_PAGE_BYTES = resource.getpagesize()


def main() -> None:
    """Serve trials on standard input and output until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this ends
    source, target = sys.stdin.buffer, sys.stdout.buffer
    setup = read_message(source)
    if setup is None:
        return
    limits = GrammarLimits(**setup["limits"])
    tokenizer = LLTokenizer(
        setup["tokenizer"], n_vocab=setup["num_tokens"], eos_token=setup["eos_token_ids"] or None
    )
    try_grammar(tokenizer, _WARM_UP)
    while (request := read_message(source)) is not None:
        write_message(target, _try_apart(tokenizer, request, limits))


def try_grammar(tokenizer: LLTokenizer, grammar: str) -> dict[str, Any]:
    """Compile and take a first mask: {"error": why not} or {"num_bytes": what it took}."""
    before = _resident_bytes()
    matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=parser_limits())
    mask = b"" if matcher.is_error() else matcher.compute_bitmask()
    if _DEAD_END in (matcher.stop_reason(), matcher.get_error()[: len(_DEAD_END)]):
        return {"error": "no text satisfies it"}
    if matcher.is_error():
        return {"error": matcher.get_error()}
    if not any(mask):
        return {"error": "no text satisfies it"}
    return {"num_bytes": max(0, _resident_bytes() - before)}


def write_message(target: IO[bytes], message: Any) -> None:
    """Send one JSON value."""
    data = json.dumps(message, separators=(",", ":")).encode()
    target.write(_LENGTH.pack(len(data)) + data)
    target.flush()


def read_message(source: IO[bytes]) -> Any | None:
    """The next JSON value; None if the other side is gone."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = source.read(length)
    return json.loads(data) if len(data) == length else None


def _try_apart(
    tokenizer: LLTokenizer, request: dict[str, Any], limits: GrammarLimits
) -> dict[str, Any]:
    """`try_grammar` in a child. {"is_pending": True}: it needs more time than a quick trial has."""
    grammar, is_quick = request["grammar"], bool(request["is_quick"])
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _serve_one(tokenizer, grammar, limits, writing, is_quick=is_quick)
    os.close(writing)
    try:
        time_s = limits.quick_s if is_quick else limits.time_s
        answer = _read_until(reading, time_s * _WALL_SHARE)
    finally:
        os.close(reading)
    if answer is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if answer:
        result: dict[str, Any] = json.loads(answer)
        return result
    is_timed_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
    if is_quick and (answer is None or is_timed_out):
        return {"is_pending": True}
    return {"error": _why_it_ended(status, answer is None, limits)}


def _serve_one(
    tokenizer: LLTokenizer, grammar: str, limits: GrammarLimits, writing: int, *, is_quick: bool
) -> None:
    """The child: never returns."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)  # what native code says before it aborts
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_CPU, limits.time_s)
        if is_quick:  # nobody handles the signal, so it ends the child
            signal.setitimer(signal.ITIMER_PROF, limits.quick_s)
        _limit(resource.RLIMIT_STACK, _STACK_BYTES)
        _limit(resource.RLIMIT_AS, _virtual_bytes() + limits.memory_bytes)
        os.write(writing, json.dumps(try_grammar(tokenizer, grammar)).encode())
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is, the parent's code must not run here
        os._exit(1)


def _limit(kind: int, value: int) -> None:
    try:
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
    except (OSError, ValueError):
        return  # not every system has every limit; the wall clock always holds


def _read_until(reading: int, timeout_s: float) -> bytes | None:
    """All that the child writes; None if it takes too long."""
    parts: list[bytes] = []
    deadline_s = time.monotonic() + timeout_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        if select.select([reading], [], [], left_s)[0]:
            part = os.read(reading, 65536)
            if not part:
                return b"".join(parts)
            parts.append(part)
    return None


def _why_it_ended(status: int, is_late: bool, limits: GrammarLimits) -> str:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if is_late or number == signal.SIGXCPU:
        return f"it is too expensive: it takes more than {limits.time_s} s of processor time"
    if number == signal.SIGSEGV:
        return "it is too expensive: it is nested too deeply"
    return f"it is too expensive: it takes more than {limits.memory_bytes >> 20} MiB of memory"


def _resident_bytes() -> int:
    """Without what is mapped from files: a child meets the library's code anew."""
    return _statm(1) - _statm(2)


def _virtual_bytes() -> int:
    return _statm(0)


def _statm(field: int) -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a child does as little as it can
            return int(file.read().split()[field]) * _PAGE_BYTES
    except OSError:  # no /proc on this system
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return usage * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
