"""Every Redis key of headrace.

Owns: names and nothing else. Must not know: what is stored under them (the headers of
scripts/*.lua do). All keys of a namespace carry one hash tag, so that they share a slot and a
script may touch any of them. `scripts/_keys.lua` builds the same names; a test compares the two.
"""

import re
from dataclasses import dataclass

from jobs.errors import BadBatchError

__all__ = ["Keys", "check_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")


def check_name(kind: str, name: str) -> str:
    """`name` itself if it can be part of a key.

    Raises BadBatchError otherwise; `kind` says in the text what the name is for.
    """
    if not _NAME.fullmatch(name):
        raise BadBatchError(
            f"{kind} {name[:200]!r} cannot be used: 1 to 128 of A-Z a-z 0-9 _ . - , "
            "starting with a letter or digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys under one namespace. Raises BadBatchError for a namespace that is not a plain name."""

    namespace: str = "headrace"

    def __post_init__(self) -> None:
        check_name("the namespace", self.namespace)

    @property
    def prefix(self) -> str:
        return f"{self.namespace}:{{q}}:"

    @property
    def server_run(self) -> str:
        """STRING: the run id of the server whose append-only file is known to be whole."""
        return f"{self.prefix}server-run"

    # One batch. Batch ids and tenants hold no colon, so a model name may hold anything.

    def batch(self, batch_id: str) -> str:
        """HASH: state, counters, settings."""
        return f"{self.prefix}b:{batch_id}"

    def stream(self, batch_id: str, model: str) -> str:
        """STREAM with group `g`: the jobs for one model. Entry ids are `<sequence>-<idx>`."""
        return f"{self.prefix}s:{batch_id}:{model}"

    def models(self, batch_id: str) -> str:
        """SET of the models that have a stream."""
        return f"{self.prefix}n:{batch_id}"

    def bitmap(self, batch_id: str) -> str:
        """Bit idx is set once the result of line idx is recorded."""
        return f"{self.prefix}m:{batch_id}"

    def outbox(self, batch_id: str) -> str:
        """STREAM: recorded results until their sink has them."""
        return f"{self.prefix}o:{batch_id}"

    def attempts(self, batch_id: str) -> str:
        """HASH: idx -> `<starts>:<fence of the last start>:<starts that the worker survived>`,
        `<idx>:p` -> tokens handed back, `<idx>:h` -> record of the starts without a result.
        """
        return f"{self.prefix}a:{batch_id}"

    def cancels(self, batch_id: str) -> str:
        """SET of the lines that were cancelled one by one."""
        return f"{self.prefix}x:{batch_id}"

    def deadlines(self, batch_id: str) -> str:
        """ZSET: `<entry id>:<model>` of the jobs with a deadline of their own, by that time."""
        return f"{self.prefix}e:{batch_id}"

    def shared(self, batch_id: str) -> str:
        """HASH: `l:<hash>` -> entry id of the job that computes for all with that hash, `r:<hash>`
        -> its idx, a line feed, its payload.
        """
        return f"{self.prefix}g:{batch_id}"

    def kept(self, batch_id: str) -> str:
        """LIST: hashes with a result in `shared`, oldest first."""
        return f"{self.prefix}k:{batch_id}"

    def followers(self, batch_id: str, answer_hash: str) -> str:
        """LIST: entry ids of the jobs that wait for the result of one with their hash."""
        return f"{self.prefix}w:{batch_id}:{answer_hash}"

    def tokens(self, batch_id: str, idx: int) -> str:
        """Channel: tokens of one job for the client that waits for them."""
        return f"{self.prefix}t:{batch_id}:{idx}"

    def submission(self, batch_id: str, idx: int) -> str:
        """STRING with expiry: the entry id of a request, should its submission be repeated."""
        return f"{self.prefix}u:{batch_id}:{idx}"

    # Routing. Interactive batches have rings of their own, which are always walked first.

    def ring(self, model: str, *, is_interactive: bool = False) -> str:
        """LIST of the tenants that have jobs waiting for a model."""
        return f"{self.prefix}ring{_class_suffix(is_interactive)}:{model}"

    def lane(self, tenant: str, model: str, *, is_interactive: bool = False) -> str:
        """LIST of one tenant's batches that have jobs waiting for a model."""
        return f"{self.prefix}lane{_class_suffix(is_interactive)}:{tenant}:{model}"

    def deficits(self, model: str, *, is_interactive: bool = False) -> str:
        """HASH: tenant -> tokens it may still be given in this round."""
        return f"{self.prefix}deficit{_class_suffix(is_interactive)}:{model}"

    def reap(self, model: str) -> str:
        """ZSET of batches with leases, by the time of the next look for expired ones."""
        return f"{self.prefix}reap:{model}"

    def alone(self, model: str) -> str:
        """STRING: the consumer that empties itself to run a last attempt alone."""
        return f"{self.prefix}alone:{model}"

    def later(self, model: str) -> str:
        """ZSET: `<batch id>:<entry id>` of jobs that wait for their time, by that time."""
        return f"{self.prefix}later:{model}"

    def turn(self, model: str) -> str:
        """STRING: since when a model's other jobs have waited behind interactive ones."""
        return f"{self.prefix}turn:{model}"

    # The whole namespace.

    @property
    def batches(self) -> str:
        """ZSET of every batch that is known, by creation time."""
        return f"{self.prefix}batches"

    @property
    def active(self) -> str:
        """SET of batches that are not final."""
        return f"{self.prefix}active"

    @property
    def finalizing(self) -> str:
        """SET of batches whose results are all recorded, but not yet all in their sink."""
        return f"{self.prefix}fin"

    @property
    def broken(self) -> str:
        """SET of batches with a key that somebody removed or replaced."""
        return f"{self.prefix}broken"

    @property
    def dead(self) -> str:
        """STREAM: jobs given up after their last attempt, with their bodies."""
        return f"{self.prefix}dead"

    @property
    def stat(self) -> str:
        """HASH of counters; see RedisQueue.counters."""
        return f"{self.prefix}stat"

    @property
    def backlog(self) -> str:
        """HASH: `jobs:<model>`, `tokens:<model>`, and `bytes` of all bodies."""
        return f"{self.prefix}backlog"

    @property
    def tenants(self) -> str:
        """HASH: tenant -> weight; 1 if absent."""
        return f"{self.prefix}tenants"

    @property
    def epoch(self) -> str:
        """STRING, set with the first batch: gone or changed means that Redis lost its data."""
        return f"{self.prefix}epoch"

    @property
    def workers(self) -> str:
        """SET of consumers that sent a heartbeat; the living ones have a `worker` key."""
        return f"{self.prefix}workers"

    def worker(self, consumer: str) -> str:
        """STRING with expiry: one worker's heartbeat."""
        return f"{self.prefix}worker:{consumer}"

    # Objects of the endpoint.

    def file(self, file_id: str) -> str:
        """HASH: one file's fields; of a deleted file what paging needs, for a while."""
        return f"{self.prefix}f:{file_id}"

    def files(self, tenant: str) -> str:
        """ZSET of a tenant's files, by order of creation."""
        return f"{self.prefix}files:{tenant}"

    @property
    def file_expiry(self) -> str:
        """ZSET of files by the second of their expiry."""
        return f"{self.prefix}file-expiry"

    def record(self, batch_id: str) -> str:
        """HASH: a batch as its client sees it; the queue's own view is `batch`."""
        return f"{self.prefix}r:{batch_id}"

    def records(self, tenant: str) -> str:
        """ZSET of a tenant's batches, by order of creation."""
        return f"{self.prefix}records:{tenant}"

    def idempotency(self, tenant: str, digest: str) -> str:
        """STRING with expiry: the batch that a client's idempotency key stands for."""
        return f"{self.prefix}idempotency:{tenant}:{digest}"

    @property
    def open_records(self) -> str:
        """SET of batches that the control plane still has to do something for."""
        return f"{self.prefix}open"

    @property
    def blobs(self) -> str:
        """HASH: blob -> how many files and batches hold it."""
        return f"{self.prefix}blobs"

    @property
    def blob_owner(self) -> str:
        """STRING: names this data to the blob store, in which others may have theirs."""
        return f"{self.prefix}blob-owner"

    @property
    def garbage(self) -> str:
        """SET of blobs that nobody holds any more."""
        return f"{self.prefix}garbage"

    @property
    def sequence(self) -> str:
        """Counter: the order in which files and batches were created."""
        return f"{self.prefix}seq"

    @property
    def known_models(self) -> str:
        """HASH: served name -> what its workers last said about it."""
        return f"{self.prefix}models"

    @property
    def api_keys(self) -> str:
        """HASH: id of an API key -> its digest, tenant, label and times."""
        return f"{self.prefix}api-keys"

    def lock(self, name: str) -> str:
        """STRING with expiry: the fencing token of the lock's holder."""
        return f"{self.prefix}lock:{name}"

    def fence(self, name: str) -> str:
        """Counter: the last fencing token given out for a lock."""
        return f"{self.prefix}fence:{name}"


def _class_suffix(is_interactive: bool) -> str:
    return "-interactive" if is_interactive else ""
