"""What all processes of one scenario agree on.

Owns: addresses, timings, odds. Must not know: what processes do with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jobs.queue_settings import QueueSettings
from tests.chaos.kill_points import KillPoints
from tests.chaos.lines import FAKE_MODEL

__all__ = ["NAMESPACE", "Place", "QueueKind"]

NAMESPACE = "chaos"
QueueKind = Literal["real", "write-then-ack", "ack-then-write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One scenario's folder, server and settings. `odds` are those of the kill points; `step_s` is
    how long a step of the fake engine takes; `expires_at_ms` is the batch's deadline; `is_run`
    says that `headrace run` does everything, with a server of its own.
    """

    folder: Path
    url: str
    seed: str
    batch_id: str = "batch_chaos"
    model: str = FAKE_MODEL
    queue_kind: QueueKind = "real"
    odds: Mapping[str, float] = field(default_factory=dict)
    lease_s: float = 1.0
    drain_s: float = 0.2
    step_s: float = 0.02
    max_num_seqs: int = 8
    max_attempts: int = 1000
    expires_at_ms: int | None = None
    is_run: bool = False

    @property
    def input_path(self) -> Path:
        return self.folder / "in.jsonl"

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def parts(self) -> Path:
        return self.state / ("generation-0001" if self.is_run else self.batch_id)

    @property
    def state(self) -> Path:
        return self.output / ".headrace"

    @property
    def deaths(self) -> Path:
        return self.folder / "deaths.log"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def points(self, process: str, incarnation: int) -> KillPoints:
        return KillPoints(
            self.odds, seed=f"{self.seed}:{process}:{incarnation}", record=self.deaths
        )

    def queue_settings(self) -> QueueSettings:
        lease_ms = round(self.lease_s * 1000)
        return QueueSettings(
            lease_ms=lease_ms, reap_every_ms=max(1, lease_ms // 4), max_attempts=self.max_attempts
        )
