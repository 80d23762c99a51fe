"""Jobs that were given up, and what may be done with them.

Owns: reading dead letters, bringing their jobs back, dropping them. Must not know: how letters come
about (scripts do), what is printed. A letter is a copy: the line has its error row already. It
stays until somebody revives or drops it, or 10,000 letters or 64 MiB of bodies have come after it.
"""

import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from jobs.errors import UnknownLetterError
from jobs.queue import BatchSpec
from jobs.queue_client import QueueClient
from jobs.wire import spec_fields, unpack_custom_id

__all__ = ["DeadLetter", "DeadLetters", "LetterFilter", "Revival"]

_ID = re.compile(r"\d{1,20}-\d{1,20}")
_READ_AT_ONCE = 100
_REVIVED_AT_ONCE = 100
_DROPPED_AT_ONCE = 500

_Entry = tuple[bytes, Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One job that was given up. `cause` and `message` tell of its last attempt, `attempts_json`
    (a JSON list) of the earlier ones. `body` is the request's JSON.
    """

    letter_id: str
    batch_id: str
    idx: int
    custom_id: str | None
    tenant: str
    model: str
    url: str
    cost_tokens: int
    num_attempts: int
    cause: str
    message: str
    worker: str
    attempts_json: str
    body: bytes

    @property
    def died_at_ms(self) -> int:
        """Unix milliseconds, by the clock of Redis."""
        return int(self.letter_id.partition("-")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Which letters are meant; None accepts all."""

    batch_id: str | None = None
    model: str | None = None
    tenant: str | None = None
    cause: str | None = None

    def accepts(self, letter: DeadLetter) -> bool:
        names = ("batch_id", "model", "tenant", "cause")
        return all(getattr(self, name) in (None, getattr(letter, name)) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revival:
    """Where the job of a letter is now: in `batch_id` as line `idx`. None: there was no such
    letter, since somebody else has revived or dropped it.
    """

    letter_id: str
    batch_id: str | None
    idx: int | None


class DeadLetters(QueueClient):
    """The dead letters of one namespace. All calls are idempotent."""

    async def find(self, wanted: LetterFilter | None = None) -> AsyncIterator[DeadLetter]:
        """The letters that `wanted` accepts, oldest first."""
        wanted = wanted or LetterFilter()
        after = "-"
        while True:
            entries = await self._read(after, "+")
            for entry_id, fields in entries:
                letter = _letter(entry_id.decode(), fields)
                if wanted.accepts(letter):
                    yield letter
            if len(entries) < _READ_AT_ONCE:
                return
            after = f"({entries[-1][0].decode()}"

    async def get(self, letter_id: str) -> DeadLetter:
        """Raises UnknownLetterError."""
        letters = await self.get_all([letter_id])
        return letters[0]

    async def get_all(self, letter_ids: Sequence[str]) -> list[DeadLetter]:
        """The letters with these ids. Raises UnknownLetterError for the first that is unknown."""
        letters: list[DeadLetter] = []
        for letter_id in letter_ids:
            entries: list[_Entry] = []
            if _ID.fullmatch(letter_id):
                entries = await self._read(letter_id, letter_id)
            if not entries:
                raise UnknownLetterError(f"there is no dead letter {letter_id[:200]!r}")
            letters.append(_letter(letter_id, entries[0][1]))
        return letters

    async def revive(self, letters: Sequence[DeadLetter]) -> list[Revival]:
        """Make jobs of these letters again, with all their attempts; one answer for each.

        A job goes back into its batch if that is open and no sink has taken its error row, which
        then is taken back: the line has one row in the end. Else it becomes a line of a new batch
        of the same tenant, whose rows wait in Redis; its lines are in the order of `letters`.
        """
        revivals: dict[str, Revival] = {}
        for tenant in sorted({letter.tenant for letter in letters}):
            ids = [letter.letter_id for letter in letters if letter.tenant == tenant]
            for first in range(0, len(ids), _REVIVED_AT_ONCE):
                for revival in await self._revive_some(
                    tenant, ids[first : first + _REVIVED_AT_ONCE]
                ):
                    revivals[revival.letter_id] = revival
        return [revivals[letter.letter_id] for letter in letters]

    async def drop(self, letter_ids: Sequence[str]) -> int:
        """Forget these letters; how many there were."""
        dropped = 0
        for first in range(0, len(letter_ids), _DROPPED_AT_ONCE):
            dropped += await self._drop_some(letter_ids[first : first + _DROPPED_AT_ONCE])
        return dropped

    async def _read(self, start: str, end: str) -> list[_Entry]:
        key = self._keys.dead
        entries: list[_Entry] = await self._calls.command(
            lambda redis: redis.xrange(key, start, end, _READ_AT_ONCE)
        )
        return entries

    async def _drop_some(self, letter_ids: Sequence[str]) -> int:
        return int(await self._calls.script("drop_letters", *letter_ids))

    async def _revive_some(self, tenant: str, letter_ids: Sequence[str]) -> list[Revival]:
        spec = BatchSpec(batch_id=f"retry_{secrets.token_hex(16)}", tenant=tenant or "default")
        fields = spec_fields(spec)
        reply = await self._calls.script(
            "revive",
            spec.batch_id,
            secrets.token_hex(8),
            len(fields),
            *fields,
            *letter_ids,
        )
        return [
            Revival(
                letter_id=letter_id,
                batch_id=reply[2 * k].decode() or None,
                idx=int(reply[2 * k + 1]) if reply[2 * k] else None,
            )
            for k, letter_id in enumerate(letter_ids)
        ]


def _letter(letter_id: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """Letters that an earlier version wrote have no cause: their worker was lost."""
    history = fields.get(b"h", b"").decode(errors="replace")
    return DeadLetter(
        letter_id=letter_id,
        batch_id=fields[b"b"].decode(),
        idx=int(fields[b"i"]),
        custom_id=unpack_custom_id(fields[b"c"]),
        tenant=fields.get(b"t", b"").decode() or "default",
        model=fields[b"m"].decode(),
        url=fields[b"u"].decode(),
        cost_tokens=int(fields[b"k"]),
        num_attempts=int(fields[b"n"]),
        cause=fields.get(b"e", b"worker_lost").decode(),
        message=fields.get(b"r", b"").decode(errors="replace"),
        worker=fields[b"w"].decode(),
        attempts_json=f"[{history}]",
        body=fields[b"j"],
    )
