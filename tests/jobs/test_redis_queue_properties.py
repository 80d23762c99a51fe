"""Any interleaving of producers, workers, crashes, zombies and cancels keeps the invariants:

I1 each line gets at most one row; I2 each line has a row or exactly one job; I3 the counters count
the rows; I4 nobody but the owner of a lease changes anything; of the jobs with the same answer one
is computed at a time, and the others get its result.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from jobs.embedded_server import EmbeddedServer
from jobs.keys import Keys
from jobs.queue import (
    BatchSpec,
    BatchState,
    CommitReply,
    FinishedRow,
    Lease,
    LeaseLoss,
    NewJob,
    Outcome,
    Release,
)
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from jobs.upkeep import Upkeep
from schemas.result import ResultRow
from tests.jobs.conftest import FAKE, REAL, fake_client, start_once
from tests.jobs.queue_lines import Snapshot, commits, failure, job, let_lapse, row, snapshot

MODELS = ("m0", "m1")
BATCHES = ("b0", "b1")
WORKERS = st.sampled_from(["w0", "w1", "w2"])
BATCH = st.sampled_from(BATCHES)
ONE_IN_FOUR = st.sampled_from([False, False, False, True])
MAX_ATTEMPTS = 2
SETTINGS = QueueSettings(
    reap_every_ms=1,
    max_attempts=MAX_ATTEMPTS,
    burst=2,
    quantum_tokens=20,
    max_depth=60,
    max_outbox=15,
    producer_timeout_ms=1,
    first_retry_ms=1,
    longest_retry_ms=1,
    age_ms=20,
)

T = TypeVar("T")
Key = tuple[str, int]


def line(idx: int, kind: str) -> NewJob | FinishedRow:
    """A finished row, a job for a model, or one that has the answer of its twins."""
    cost = 1 + 7 * idx % 30
    if kind == "row":
        return row(idx)
    if kind == "twin":
        return job(idx, model="m0", cost=cost, answer_hash="same")
    return job(idx, model=kind, cost=cost)


class QueueMachine(RuleBasedStateMachine):
    """Knows what Redis should know: whose lease is valid, how often a job was started, which rows
    were read from the outboxes."""

    def __init__(self, make_client: Callable[[], Redis]) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = make_client()
        self.queue = RedisQueue(self.redis, Keys("property"), SETTINGS)
        self.upkeep = Upkeep(self.redis, Keys("property"), SETTINGS)
        self.held: list[tuple[str, Lease]] = []
        self.current: dict[Key, Lease] = {}
        self.starts: Counter[Key] = Counter()
        self.survived: Counter[Key] = Counter()
        self.started_leases: set[tuple[Key, int]] = set()
        self.rows: dict[Key, Outcome] = {}
        self.cancelled: set[Key] = set()
        self.num_lines = dict.fromkeys(BATCHES, 0)
        self.closed: set[str] = set()
        self.run(self.redis.flushall())
        for batch_id in BATCHES:
            spec = BatchSpec(batch_id=batch_id, tenant=f"tenant-of-{batch_id}")
            assert self.run(self.queue.create_batch(spec))
            self.enqueue(batch_id, ["m0"] * 4 + ["m1"] * 2 + ["twin"] * 3 + ["row"], False, 0)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def absorb(self) -> None:
        """Read all outboxes, as their sinks would."""
        for batch_id in BATCHES:
            entries = self.run(self.queue.read_outbox(batch_id, 1000))
            for entry in entries:
                key = (batch_id, entry.idx)
                assert key not in self.rows, "a line has two rows"
                self.rows[key] = entry.outcome
                self.current.pop(key, None)
                if entry.deduped_from is not None:
                    assert entry.payload == f"result {entry.deduped_from}".encode()
                    assert entry.deduped_from != entry.idx
                if entry.payload and b"max_deliveries" in entry.payload:
                    assert self.starts[key] == MAX_ATTEMPTS
                    assert ResultRow.decode(entry.payload).attempt == MAX_ATTEMPTS
            self.run(self.queue.delete_outbox(batch_id, [entry.entry_id for entry in entries]))

    def pick(self, data: st.DataObject) -> tuple[str, Lease] | None:
        """One of the latest leases, valid or not."""
        return data.draw(st.sampled_from(self.held[-10:])) if self.held else None

    def owns(self, lease: Lease) -> bool:
        return self.current.get(lease.key) is lease

    @rule(
        batch_id=BATCH,
        kinds=st.lists(st.sampled_from(["row", "twin", *MODELS]), max_size=8),
        is_final=ONE_IN_FOUR,
        goes_back=st.integers(0, 3),
    )
    def enqueue(self, batch_id: str, kinds: list[str], is_final: bool, goes_back: int) -> None:
        at = self.num_lines[batch_id]
        start = max(0, at - goes_back)
        lines = [line(start + k, kind) for k, kind in enumerate(kinds)]
        reply = self.run(self.queue.enqueue(batch_id, start, lines, is_final=is_final))
        if batch_id in self.closed:
            assert reply.position == at
            assert reply.state is not None or (reply.accepted and start + len(lines) == at)
        elif start != at:
            assert (reply.accepted, reply.position) == (False, at)
        elif not reply.is_full:
            assert (reply.accepted, reply.position) == (True, at + len(lines))
            self.num_lines[batch_id] += len(lines)
            if is_final:
                self.closed.add(batch_id)
        self.absorb()

    @rule(worker=WORKERS, max_jobs=st.integers(1, 8), max_cost=st.integers(1, 100))
    def take(self, worker: str, max_jobs: int, max_cost: int) -> None:
        in_flight = sum(owner == worker and self.owns(lease) for owner, lease in self.held)
        leases = self.run(
            self.queue.take(
                worker,
                MODELS,
                max_jobs=max_jobs,
                max_cost_tokens=max_cost,
                num_in_flight=in_flight,
            )
        )
        self.absorb()
        assert len(leases) <= max_jobs
        for lease in leases:
            assert lease.key not in self.rows, "a finished line is computed again"
            assert lease.key not in self.cancelled, "a cancelled line is computed"
            assert lease.attempt == self.starts[lease.key] + 1
            if lease.is_last_attempt:
                assert (len(leases), in_flight) == (1, 0), "a last attempt does not run alone"
            is_suspect = self.starts[lease.key] > self.survived[lease.key]
            assert lease.is_last_attempt == (is_suspect and lease.attempt == MAX_ATTEMPTS)
            before = self.current.get(lease.key)
            assert before is None or before.fence < lease.fence
            self.current[lease.key] = lease
            self.held.append((worker, lease))
        shared = Counter((key[0], each.answer_hash) for key, each in self.current.items())
        assert all(count == 1 for (_, hash_), count in shared.items() if hash_ is not None)

    @rule(data=st.data(), outcome=st.sampled_from([Outcome.OK, Outcome.ERR, Outcome.CANCELLED]))
    def commit(self, data: st.DataObject, outcome: Outcome) -> None:
        if (picked := self.pick(data)) is None:
            return
        worker, lease = picked
        owns = self.owns(lease)
        (reply,) = self.run(self.queue.commit(worker, commits([lease], outcome)))
        assert (reply in (CommitReply.OK, CommitReply.LAST)) == owns, (reply, lease)
        assert reply is not CommitReply.DUP
        self.absorb()
        assert not owns or self.rows[lease.key] is outcome

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """The worker survives what it could not compute."""
        if (picked := self.pick(data)) is None:
            return
        worker, lease = picked
        owns = self.owns(lease)
        reply = self.run(self.queue.retry(worker, failure(lease)))
        assert (reply in (CommitReply.GONE, CommitReply.FENCED)) != owns
        self.absorb()
        if not owns:
            return
        if (lease.key, lease.fence) not in self.started_leases:
            self.starts[lease.key] += 1
        if reply is CommitReply.LATER:
            del self.current[lease.key]
            self.survived[lease.key] += 1
            assert self.starts[lease.key] < MAX_ATTEMPTS
        else:
            assert lease.key in self.rows

    @rule(data=st.data(), is_started=st.booleans())
    def renew(self, data: st.DataObject, is_started: bool) -> None:
        if (picked := self.pick(data)) is None:
            return
        self.start(*picked, is_started=is_started)

    def start(self, worker: str, lease: Lease, *, is_started: bool) -> None:
        """Renew a lease, as started or not."""
        lost = self.run(self.queue.renew(worker, [lease], started=[lease] if is_started else []))
        owns = self.owns(lease)
        is_gone = bool(lost) and lost[0].loss in (LeaseLoss.GONE, LeaseLoss.FENCED)
        assert is_gone != owns
        if owns and is_started and (lease.key, lease.fence) not in self.started_leases:
            self.started_leases.add((lease.key, lease.fence))
            self.starts[lease.key] += 1

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if (picked := self.pick(data)) is None:
            return
        worker, lease = picked
        count = self.run(self.queue.release(worker, [Release(lease=lease, progress=b"p")]))
        assert count == self.owns(lease)
        if count:
            del self.current[lease.key]
            if (lease.key, lease.fence) in self.started_leases:
                self.starts[lease.key] -= 1

    @rule(worker=WORKERS, other=WORKERS)
    def stall(self, worker: str, other: str) -> None:
        """A worker misses its renewals, and another one looks for work. The first may come back as
        a zombie."""
        leases = [lease for owner, lease in self.held if owner == worker and self.owns(lease)]
        self.run(let_lapse(self.redis, self.queue.keys, leases))
        time.sleep(0.002)
        self.take(other, 8, 1000)

    @rule(worker=WORKERS)
    def die_of_a_job(self, worker: str) -> None:
        """A worker takes a job, starts it and never comes back."""
        self.take(worker, 1, 1000)
        if self.held and self.held[-1][0] == worker and self.owns(self.held[-1][1]):
            self.start(worker, self.held[-1][1], is_started=True)
        self.stall(worker, worker)

    @rule(
        batch_id=BATCH,
        kind=st.sampled_from(["sweep", "sweep", "flush", "restart", "one", "one", "batch", "late"]),
        k=st.integers(0, 20),
    )
    def disturb(self, batch_id: str, kind: str, k: int) -> None:
        match kind:
            case "sweep":
                self.sweep()
            case "flush":
                self.run(self.redis.script_flush())
            case "restart":
                self.run(self.queue.reclaim_all(batch_id))
                for key in [key for key in self.current if key[0] == batch_id]:
                    del self.current[key]
            case "one" if k < self.num_lines[batch_id]:
                is_noted = self.run(self.queue.cancel_job(batch_id, k))
                assert is_noted == ((batch_id, k) not in self.rows)
                if is_noted:
                    self.cancelled.add((batch_id, k))
            case "batch" if k < 5:
                self.run(self.queue.cancel(batch_id))
            case "late" if k < 5:
                self.run(self.redis.hset(self.queue.keys.batch(batch_id), "expires_at", 1))

    def sweep(self) -> None:
        """It may close a batch whose producer is silent: the next chunk opens it again."""
        self.run(self.upkeep.sweep(BATCHES))
        self.absorb()

    def look(self) -> list[Snapshot]:
        return [self.run(snapshot(self.redis, self.queue, batch_id)) for batch_id in BATCHES]

    @invariant()
    def every_line_has_a_row_or_a_job(self) -> None:
        depth = 0
        for seen, batch_id in zip(self.look(), BATCHES, strict=True):
            rows = {idx for name, idx in self.rows if name == batch_id}
            assert seen.num_enqueued == self.num_lines[batch_id]
            assert len(seen.in_stream) == len(set(seen.in_stream))
            assert seen.with_result == rows
            assert rows | set(seen.in_stream) == set(range(seen.num_enqueued))
            assert rows.isdisjoint(seen.in_stream)
            assert seen.counted == len(rows)
            depth += len(seen.in_stream)
        backlog = self.run(self.queue.backlog())
        assert sum(each.num_jobs for each in backlog.values()) == depth
        assert depth <= SETTINGS.max_depth

    def teardown(self) -> None:
        try:
            self.complete()
        finally:
            self.run(self.redis.aclose())
            self.runner.close()

    def complete(self) -> None:
        """Whatever happened before: with one good worker, every batch comes to its end."""
        for batch_id in BATCHES:
            self.run(self.queue.reclaim_all(batch_id))
            if batch_id not in self.closed:
                at = self.num_lines[batch_id]
                assert self.run(self.queue.enqueue(batch_id, at, [], is_final=True)).accepted
        self.current.clear()
        for _ in range(500):
            self.sweep()
            leases = self.run(
                self.queue.take("last", MODELS, max_jobs=50, max_cost_tokens=1000, num_in_flight=0)
            )
            self.run(self.queue.commit("last", commits(leases)))
            self.absorb()
            time.sleep(0.001)
            states = {self.run(self.queue.finish(batch_id)) for batch_id in BATCHES}
            if all(state.is_final for state in states):
                break
        else:
            pytest.fail(f"batches do not come to an end: {states}")
        for batch_id in BATCHES:
            status = self.run(self.queue.status(batch_id))
            assert status is not None
            ends = Counter(outcome for (name, _), outcome in self.rows.items() if name == batch_id)
            assert ends.total() == status.total == self.num_lines[batch_id]
            assert (status.num_ok, status.num_err) == (ends[Outcome.OK], ends[Outcome.ERR])
            assert status.num_cancelled == ends[Outcome.CANCELLED]
            assert status.num_expired == ends[Outcome.EXPIRED]
            if status.num_expired and status.state is not BatchState.CANCELLED:
                assert status.state is BatchState.EXPIRED
        backlog = self.run(self.queue.backlog())
        assert all(each.num_jobs == each.num_tokens == 0 for each in backlog.values())


@pytest.mark.parametrize("server", [FAKE, *REAL])
def test_no_interleaving_breaks_the_queue(
    server: str,
    running_servers: dict[str, EmbeddedServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def make_client() -> Redis:
        if server == FAKE:
            return fake_client()
        return connect(start_once(server, running_servers, tmp_path_factory).url)

    run_state_machine_as_test(
        lambda: QueueMachine(make_client),
        settings=settings(
            max_examples=6 if server == FAKE else 15,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
