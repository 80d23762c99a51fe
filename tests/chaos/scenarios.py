"""The scenarios: what runs, and what happens to it.

Owns: the table. Must not know: how faults are done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.chaos.faults import Action, Fault
from tests.chaos.kill_points import SINK_POINTS, WORKER_POINTS
from tests.chaos.lines import Workload
from tests.chaos.place import QueueKind

__all__ = ["SCENARIOS", "SHORT", "Scenario"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`must_fail`: a broken variant, which the count has to catch. `max_attempts` is out of reach
    where the harness itself kills more often than any poison would, in `headrace run` too.
    `expires_in_s` is the batch's deadline, `state` how the batch must end. `spends_attempts`
    False: no job may need a second one.
    `is_run`: `headrace run` with a server of its own instead of workers and sinks; its faults are
    those of sinks and of Redis.
    """

    name: str
    workload: Workload
    faults: tuple[Fault, ...] = ()
    odds: Mapping[str, float] = field(default_factory=dict)
    num_workers: int = 4
    num_sinks: int = 1
    queue_kind: QueueKind = "real"
    max_attempts: int = 1000
    max_num_seqs: int = 8
    lease_s: float = 1.0
    drain_s: float = 0.2
    step_s: float = 0.02
    expires_in_s: float | None = None
    state: str = "completed"
    spends_attempts: bool = True
    is_run: bool = False
    must_fail: bool = False

    def scaled(self, share: float) -> "Scenario":
        """The same with fewer lines and faults, all of which come earlier."""
        workload = replace(
            self.workload,
            num_lines=max(60, round(self.workload.num_lines * share)),
            num_bad=round(self.workload.num_bad * share),
            num_poison=max(
                min(self.workload.num_poison, 2), round(self.workload.num_poison * share)
            ),
        )
        faults = tuple(
            replace(fault, count=max(1, round(fault.count * share)), first_s=fault.first_s / 2)
            for fault in self.faults
        )
        expires_in_s = None if self.expires_in_s is None else self.expires_in_s * max(share, 0.6)
        return replace(self, workload=workload, faults=faults, expires_in_s=expires_in_s)


_DICE = dict.fromkeys(WORKER_POINTS, 0.012) | {"mid-generation": 0.004}
_SINK_DICE = dict.fromkeys(SINK_POINTS, 0.04)
_LINES = Workload(num_lines=2000, num_bad=40)

_ALL = (
    Scenario(
        name="undisturbed",
        workload=replace(_LINES, num_lines=1000),
    ),
    Scenario(
        name="killed at named points",
        workload=_LINES,
        odds=_DICE | _SINK_DICE,
    ),
    Scenario(
        name="killed at random",
        workload=_LINES,
        faults=(
            Fault(action=Action.KILL_WORKER, count=60, every_s=0.25),
            Fault(action=Action.KILL_SINK, count=15, every_s=1.0),
        ),
    ),
    Scenario(
        name="stopped for longer than a lease",
        workload=replace(_LINES, num_lines=1500),
        faults=(Fault(action=Action.STOP_WORKER, count=30, every_s=0.5),),
        lease_s=0.6,
    ),
    Scenario(
        name="Redis killed, AOF everysec",
        workload=_LINES,
        faults=(
            Fault(action=Action.KILL_REDIS, count=6, every_s=2.0),
            Fault(action=Action.KILL_WORKER, count=20, every_s=0.7),
        ),
    ),
    Scenario(
        name="Redis killed, end of its log cut off",
        workload=_LINES,
        faults=(
            Fault(action=Action.CUT_REDIS, count=6, every_s=2.5, first_s=1.5),
            Fault(action=Action.KILL_WORKER, count=10, every_s=1.2),
        ),
    ),
    Scenario(
        name="Redis loses everything",
        workload=_LINES,
        faults=(
            Fault(action=Action.WIPE_REDIS, count=2, every_s=5.0, first_s=3.0),
            Fault(action=Action.FLUSH_REDIS, count=2, every_s=5.0, first_s=5.0),
        ),
    ),
    Scenario(
        name="foreign hands in Redis",
        workload=_LINES,
        faults=(Fault(action=Action.MEDDLE, count=24, every_s=0.6),),
    ),
    Scenario(
        name="three sinks race and die",
        workload=_LINES,
        odds=dict.fromkeys(SINK_POINTS, 0.05),
        faults=(Fault(action=Action.STOP_SINK, count=8, every_s=1.2),),
        num_sinks=3,
        num_workers=3,
    ),
    Scenario(
        name="cancelled in the middle",
        workload=replace(_LINES, num_lines=3000),
        faults=(
            Fault(action=Action.CANCEL, first_s=4.0),
            Fault(action=Action.KILL_WORKER, count=8, every_s=0.6),
        ),
        odds=dict.fromkeys(SINK_POINTS, 0.02),
        state="cancelled",
    ),
    Scenario(
        name="expires in the middle",
        workload=replace(_LINES, num_lines=3000),
        faults=(Fault(action=Action.KILL_WORKER, count=8, every_s=0.6),),
        odds=dict.fromkeys(SINK_POINTS, 0.02),
        expires_in_s=5.0,
        state="expired",
    ),
    Scenario(
        name="poison",
        workload=Workload(num_lines=1000, num_bad=20, num_poison=6),
        max_attempts=3,
        max_num_seqs=16,
    ),
    Scenario(
        name="rolling restarts (SIGTERM)",
        workload=Workload(num_lines=800, min_tokens=30, max_tokens=90),
        faults=(Fault(action=Action.TERM_WORKER, count=24, every_s=0.5),),
        max_attempts=3,
        spends_attempts=False,
    ),
    Scenario(
        name="headrace run, interrupted again and again",
        workload=replace(_LINES, num_lines=1000, num_bad=20),
        faults=(
            Fault(action=Action.KILL_SINK, count=10, every_s=1.2, first_s=0.8),
            Fault(action=Action.INTERRUPT_SINK, count=6, every_s=2.0, first_s=1.5),
            Fault(action=Action.KILL_REDIS, count=4, every_s=3.0, first_s=2.0),
        ),
        odds=dict.fromkeys(SINK_POINTS, 0.02),
        is_run=True,
    ),
    Scenario(
        name="real engine, killed",
        workload=Workload(num_lines=240, model="demo", min_tokens=8, max_tokens=48),
        faults=(
            Fault(action=Action.KILL_WORKER, count=6, every_s=3.0, first_s=1.5),
            Fault(action=Action.TERM_WORKER, count=2, every_s=4.0, first_s=3.0),
        ),
        num_workers=2,
        lease_s=2.0,
    ),
    Scenario(
        name="broken: write, then acknowledge",
        workload=Workload(num_lines=400),
        odds={"mid-commit": 0.08},
        queue_kind="write-then-ack",
        must_fail=True,
    ),
    Scenario(
        name="broken: acknowledge, then write",
        workload=Workload(num_lines=400),
        odds={"mid-commit": 0.08},
        queue_kind="ack-then-write",
        must_fail=True,
    ),
)

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}

_SHORT_SHARES = {
    "killed at named points": 0.2,
    "killed at random": 0.15,
    "stopped for longer than a lease": 0.15,
    "Redis killed, AOF everysec": 0.15,
    "Redis killed, end of its log cut off": 0.15,
    "foreign hands in Redis": 0.15,
    "three sinks race and die": 0.15,
    "cancelled in the middle": 0.4,
    "expires in the middle": 0.4,
    "poison": 0.15,
    "headrace run, interrupted again and again": 0.2,
    "broken: write, then acknowledge": 0.4,
    "broken: acknowledge, then write": 0.4,
}
SHORT = tuple(SCENARIOS[name].scaled(share) for name, share in _SHORT_SHARES.items())
