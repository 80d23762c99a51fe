"""When what goes wrong in a scenario.

Owns: the plan of faults, made from a seed before the scenario begins. Must not know: processes.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Action", "Event", "Fault", "plan"]


class Action(StrEnum):
    KILL_WORKER = "kill worker"
    STOP_WORKER = "stop worker"
    TERM_WORKER = "drain worker"
    KILL_SINK = "kill sink"
    INTERRUPT_SINK = "interrupt sink"
    STOP_SINK = "stop sink"
    KILL_REDIS = "kill redis"
    CUT_REDIS = "cut redis"
    WIPE_REDIS = "wipe redis"
    FLUSH_REDIS = "flush redis"
    MEDDLE = "meddle in redis"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`count` times the same, the first `first_s` seconds after the first job was taken, then about
    every `every_s` seconds.
    """

    action: Action
    count: int = 1
    every_s: float = 1.0
    first_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fault at `at_s` seconds; `throw` in [0, 1) chooses its victim and its size."""

    at_s: float
    action: Action
    throw: float


def plan(faults: Sequence[Fault], *, seed: str) -> list[Event]:
    """All events in their order."""
    dice = random.Random(seed)
    events: list[Event] = []
    for fault in faults:
        at_s = fault.first_s
        for _ in range(fault.count):
            events.append(Event(at_s=at_s, action=fault.action, throw=dice.random()))
            at_s += fault.every_s * dice.uniform(0.5, 1.5)
    return sorted(events, key=lambda event: event.at_s)
