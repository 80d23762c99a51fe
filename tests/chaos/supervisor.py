"""One scenario from its input to its count.

Owns: the processes of a scenario, the faults at their time, the end. Must not know: what is right
(checker.py). It has no threads, since it forks; everything in it is bounded by the deadline.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from jobs.keys import Keys
from jobs.queue import BatchState
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from tests.chaos.checker import Findings, check_files, check_queue, rows_of
from tests.chaos.faults import Action, Event, plan
from tests.chaos.kill_points import BEGUN, read_deaths
from tests.chaos.lines import Expected, write_input
from tests.chaos.meddling import meddle
from tests.chaos.place import NAMESPACE, Place
from tests.chaos.processes import Child
from tests.chaos.run_entry import run_command
from tests.chaos.scenarios import Scenario
from tests.chaos.server import ChaosServer, kill_server_of
from tests.chaos.sink_entry import run_sink
from tests.chaos.worker_entry import run_worker

__all__ = ["Outcome", "run_scenario"]

_RESTART_S = 0.05
_TICK_S = 0.01
_END_S = 10.0
_PATIENCE_S = 60.0
_MAX_CUT_BYTES = 250_000
_LONGEST_STOP_LEASES = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one scenario gave. `counters` are Redis' own; `faults` what was done to it."""

    scenario: Scenario
    server: str
    seed: str
    seconds: float
    is_finished: bool
    findings: Findings
    faults: Mapping[str, int]
    counters: Mapping[str, int]
    texts: Mapping[int, str | None] = field(default_factory=dict)

    @property
    def is_as_it_must_be(self) -> bool:
        is_clean = self.is_finished and self.findings.is_clean
        return not is_clean if self.scenario.must_fail else is_clean


def run_scenario(
    scenario: Scenario,
    folder: Path,
    *,
    binary: Path,
    seed: str,
    limit_s: float,
    texts: Mapping[int, str | None] | None = None,
) -> Outcome:
    """Run one scenario in `folder` for at most `limit_s` seconds, and count. `texts` are right
    answers that a run without faults gave, where the engine is a real one.
    """
    folder.mkdir(parents=True)
    server = ChaosServer(folder / "server", binary)
    try:
        place = _place(scenario, folder, server.url, seed)
        expected = write_input(place.input_path, scenario.workload, seed=seed)
        if texts is not None:
            expected = [replace(each, text=texts.get(k)) for k, each in enumerate(expected)]
        stage = _Stage(scenario, place, server, limit_s)
        started_s = time.monotonic()
        is_finished = stage.run()
        return _count(
            stage, expected, is_finished=is_finished, seconds=time.monotonic() - started_s
        )
    finally:
        server.close()


def _place(scenario: Scenario, folder: Path, url: str, seed: str) -> Place:
    deadline_s = scenario.expires_in_s
    return Place(
        folder=folder,
        url=url,
        seed=seed,
        model=scenario.workload.model,
        queue_kind=scenario.queue_kind,
        odds=scenario.odds,
        lease_s=scenario.lease_s,
        drain_s=scenario.drain_s,
        step_s=scenario.step_s,
        max_num_seqs=scenario.max_num_seqs,
        max_attempts=scenario.max_attempts,
        is_run=scenario.is_run,
        expires_at_ms=None if deadline_s is None else int((time.time() + deadline_s) * 1000),
    )


class _Patience:
    """A scenario hangs if nothing new reaches the disk for a long time; it is slow as long as
    something does. `limit_s` seconds are the end in any case.
    """

    def __init__(self, place: Place, limit_s: float) -> None:
        self._place = place
        self._seen = ""
        self._moved_s = time.monotonic()
        self._limit_s = self._moved_s + limit_s

    def is_over(self) -> bool:
        now_s = time.monotonic()
        newest = max((path.name for path in self._place.parts.glob("manifest.*")), default="")
        if newest != self._seen:
            self._seen, self._moved_s = newest, now_s
        return now_s > self._limit_s or now_s - self._moved_s > _PATIENCE_S


class _Stage:
    """The processes of one scenario while it runs, for at most `limit_s` seconds."""

    def __init__(
        self, scenario: Scenario, place: Place, server: ChaosServer, limit_s: float
    ) -> None:
        self.scenario = scenario
        self.limit_s = limit_s
        self.place = place
        self.server = server
        self.done: Counter[str] = Counter()
        num_workers = 0 if scenario.is_run else scenario.num_workers
        entry = run_command if scenario.is_run else run_sink
        self.workers = [
            self._child(f"worker-{k}", run_worker, ends=False) for k in range(num_workers)
        ]
        self.sinks = [self._child(f"sink-{k}", entry, ends=True) for k in range(scenario.num_sinks)]

    def _child(self, name: str, entry: Any, *, ends: bool) -> Child:
        return Child(name, entry(self.place, name), self.place.log(name), ends)

    def run(self) -> bool:
        """Play until every sink says that all is done; False if the deadline came first. The
        clock of the faults begins when a worker has its first jobs.
        """
        events = plan(self.scenario.faults, seed=f"{self.place.seed}:faults")
        begun_s: float | None = None
        patience = _Patience(self.place, self.limit_s)
        try:
            while not all(sink.is_done for sink in self.sinks):
                if patience.is_over():
                    return False
                for child in (*self.workers, *self.sinks):
                    child.tend(_RESTART_S)
                now_s = time.monotonic()
                if begun_s is None and (self.place.folder / BEGUN).exists():
                    begun_s = now_s
                while begun_s is not None and events and events[0].at_s <= now_s - begun_s:
                    self._do(events.pop(0))
                time.sleep(_TICK_S)
            return True
        finally:
            for child in (*self.sinks, *self.workers):
                child.end(_END_S)

    def _do(self, event: Event) -> None:
        if self._carry_out(event):
            self.done[event.action.value] += 1

    def _carry_out(self, event: Event) -> bool:
        workers = self.workers or self.sinks
        worker = workers[int(event.throw * len(workers))]
        sink = self.sinks[int(event.throw * len(self.sinks))]
        stop_s = self.scenario.lease_s * (1.2 + event.throw * (_LONGEST_STOP_LEASES - 1.2))
        match event.action:
            case Action.KILL_WORKER:
                return worker.send(signal.SIGKILL)
            case Action.TERM_WORKER:
                return worker.send(signal.SIGTERM)
            case Action.KILL_SINK:
                return sink.send(signal.SIGKILL)
            case Action.INTERRUPT_SINK:
                return sink.send(signal.SIGINT)
            case Action.STOP_WORKER:
                return worker.stop_for(stop_s)
            case Action.STOP_SINK:
                return sink.stop_for(stop_s)
            case Action.KILL_REDIS if self.scenario.is_run:
                return kill_server_of(self.place.state)
            case Action.KILL_REDIS:
                self.server.kill()
            case Action.CUT_REDIS:
                self.server.kill_and_cut(1 + int(event.throw * _MAX_CUT_BYTES))
            case Action.WIPE_REDIS:
                self.server.kill_and_wipe()
            case Action.FLUSH_REDIS:
                self.server.flush()
            case Action.MEDDLE:
                return self._meddle(event.throw)
            case Action.CANCEL:
                return asyncio.run(_cancel(self.place))
        return True

    def _meddle(self, throw: float) -> bool:
        with self.server.client() as client:
            place, keys = self.place, Keys(NAMESPACE)
            name = meddle(client, keys, place.batch_id, place.model, throw=throw)
        if name is not None:
            self.done[name] += 1
        return False  # counted by its own name


async def _cancel(place: Place) -> bool:
    client = connect(place.url)
    try:
        queue = RedisQueue(client, Keys(NAMESPACE), QueueSettings())
        return await queue.cancel(place.batch_id) is BatchState.CANCELLING
    except RedisError:
        return False
    finally:
        await client.aclose()


def _count(
    stage: _Stage, expected: list[Expected], *, is_finished: bool, seconds: float
) -> Outcome:
    place, scenario = stage.place, stage.scenario
    rows = rows_of(place.parts) if place.parts.is_dir() else []
    findings = check_files(
        rows,
        expected,
        place.parts,
        place.output,
        may_end_early=scenario.state != "completed",
    )
    counters: dict[str, int] = {}
    with stage.server.client() as client:
        server = _name_of(client)
        if not scenario.is_run:
            counters = check_queue(
                findings, client, Keys(NAMESPACE), place.batch_id, rows, state=scenario.state
            )
        elif kill_server_of(place.state):
            findings.wrong_counters += 1
            findings.note("the run left its server behind")
    if not scenario.spends_attempts and findings.num_redelivered:
        findings.wrong_rows += findings.num_redelivered
        findings.note(f"{findings.num_redelivered} rows needed more than one attempt")
    _check_that_something_happened(stage, findings)
    return Outcome(
        scenario=scenario,
        server=server,
        seed=place.seed,
        seconds=seconds,
        is_finished=is_finished,
        findings=findings,
        faults=dict(stage.done + read_deaths(place.deaths)),
        counters=counters,
        texts={row.idx: row.content for row in rows},
    )


def _check_that_something_happened(stage: _Stage, findings: Findings) -> None:
    """A scenario that ended before its faults came proves nothing."""
    if stage.scenario.state != "completed":
        if not 0 < findings.num_early < findings.num_rows:
            findings.wrong_rows += 1
            findings.note(f"{findings.num_early} of {findings.num_rows} rows ended early")
    elif stage.scenario.faults and not stage.done + read_deaths(stage.place.deaths):
        findings.wrong_rows += 1
        findings.note("no fault happened")


def _name_of(client: Redis) -> str:
    facts: Any = client.info("server")
    if "valkey_version" in facts:
        return f"valkey {facts['valkey_version']}"
    return f"redis {facts['redis_version']}"
