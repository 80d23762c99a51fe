"""Processes of a chaos run: forked, because a worker's imports take seconds and its death none.

Owns: fork, the end of children with their parent, signals, restarts. Must not know: what children
run. The parent must have no threads when it forks.
"""

import ctypes
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Child", "fork"]

_PR_SET_PDEATHSIG = 1


def fork(main: Callable[[], int], log: Path) -> int:
    """Run `main` in a new process, whose exit code it returns, and reply the process id. The
    child dies with this process; what it says is appended to `log`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _settle_in(log, parent)
        code = main()
    except BaseException:  # noqa: BLE001 - a child never returns into its parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _settle_in(log: Path, parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"%(asctime)s {os.getpid()} %(levelname)s %(name)s: %(message)s",
        force=True,
    )


@dataclass(slots=True)
class Child:
    """A role that is played by one process at a time, and again by another if that one dies.

    `make` gives the main function of the n-th process. A role that `ends` is over when a process
    ends with code 0; any other is played until `end`.
    """

    name: str
    make: Callable[[int], Callable[[], int]]
    log: Path
    ends: bool
    pid: int = 0
    num_starts: int = 0
    is_done: bool = False
    stopped_until_s: float = 0.0
    codes: list[int] = field(default_factory=list)
    _next_start_s: float = 0.0

    @property
    def is_running(self) -> bool:
        return self.pid != 0

    def start(self) -> None:
        self.pid = fork(self.make(self.num_starts), self.log)
        self.num_starts += 1

    def tend(self, restart_delay_s: float) -> None:
        """Notice a death, start anew when it is time, wake a process that was stopped."""
        now_s = time.monotonic()
        if self.pid:
            if self.stopped_until_s and now_s >= self.stopped_until_s:
                self.resume()
            self._reap(restart_delay_s)
        elif not self.is_done and now_s >= self._next_start_s:
            self.start()

    def send(self, number: int) -> bool:
        """Signal the process; False if there is none."""
        if not self.pid:
            return False
        os.kill(self.pid, number)
        return True

    def stop_for(self, seconds: float) -> bool:
        """SIGSTOP now, SIGCONT later (by `tend`)."""
        if self.stopped_until_s or not self.send(signal.SIGSTOP):
            return False
        self.stopped_until_s = time.monotonic() + seconds
        return True

    def resume(self) -> None:
        self.stopped_until_s = 0.0
        self.send(signal.SIGCONT)

    def end(self, patience_s: float) -> None:
        """SIGTERM, then SIGKILL after `patience_s`."""
        self.is_done = True
        if not self.pid:
            return
        self.send(signal.SIGTERM)
        self.resume()
        limit_s = time.monotonic() + patience_s
        while self.pid and time.monotonic() < limit_s:
            self._reap(0.0)
            time.sleep(0.01)
        if self.pid:
            self.send(signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.codes.append(-signal.SIGKILL)
            self.pid = 0

    def _reap(self, restart_delay_s: float) -> None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        self.codes.append(code)
        self.pid, self.stopped_until_s = 0, 0.0
        self.is_done = self.is_done or (self.ends and code == 0)
        self._next_start_s = time.monotonic() + restart_delay_s
