"""What waiting clients are told of a job while it runs.

Owns: which jobs have a waiting client, and one message for each step that brought something for
one. Must not know: queues, connections. Jobs of batches cost nothing here.
"""

import asyncio
import logging
from typing import Protocol

from engine.async_engine import OnTokens
from engine.logprobs import LogprobRows
from engine.request import Request
from jobs.online.messages import Accepted, Piece, Step
from jobs.online.names import is_online
from schemas.completions import CompletionRequest
from worker.answers import AnswerWriter
from worker.job import HeldJob, PreparedCompletion, PreparedJob
from worker.live_choice import LiveChoice, live_chat_choice, live_completion_choice
from worker.message import MessageReader
from worker.result_rows import answer_id

__all__ = ["LiveAnswer", "Publish", "follow_job"]

_log = logging.getLogger(__name__)


class Publish(Protocol):
    """Sends a message to whoever waits for a job; returns at once."""

    def __call__(self, batch_id: str, idx: int, message: bytes) -> None: ...


def follow_job(job: HeldJob, answers: AnswerWriter, publish: Publish | None) -> "LiveAnswer | None":
    """Tell the client of a job that is about to run so, if there is one. The answer to follow if
    the client wants it in pieces.
    """
    prepared = job.prepared
    if publish is None or prepared is None or not is_online(job.lease.batch_id):
        return None
    is_chat = isinstance(prepared, PreparedJob)
    fields = prepared.chat if isinstance(prepared, PreparedJob) else prepared.completion
    head = Accepted(
        id=answer_id("chatcmpl" if is_chat else "cmpl", job),
        created=job.lease.enqueued_ms // 1000,
        model=fields.model,
        fingerprint=answers.fingerprint,
    )
    publish(job.lease.batch_id, job.lease.idx, head.encode())
    return LiveAnswer(job, prepared, answers, publish) if fields.stream else None


class LiveAnswer:
    """The answer to one job, in pieces. Lives on the event loop."""

    def __init__(
        self,
        job: HeldJob,
        prepared: PreparedJob | PreparedCompletion,
        answers: AnswerWriter,
        publish: Publish,
    ) -> None:
        self._job = job
        self._prepared = prepared
        self._answers = answers
        self._publish = publish
        self._pieces: list[Piece] = []
        self._num_steps = 0

    def follow(self, request: Request) -> OnTokens | None:
        """What the engine is to call for a choice; None if it can only be shown whole."""
        choice = self._choice(request)
        if choice is None:
            return None

        def on_tokens(token_ids: list[int], rows: LogprobRows | None) -> None:
            nonlocal choice
            if choice is None:
                return
            try:
                piece = choice.feed(token_ids, rows)
            except Exception:  # noqa: BLE001 - only a view of the job is lost, the job goes on
                _log.exception("job %s cannot be shown while it runs", self._job.lease.idx)
                choice = None
                return
            if piece:
                self._collect(piece)

        return on_tokens

    def _choice(self, request: Request) -> LiveChoice | None:
        prepared, lease = self._prepared, self._job.lease
        if isinstance(prepared, PreparedJob):
            reader = MessageReader(self._answers.tokenizer, self._answers.parser)
            name = f"{lease.batch_id}:{lease.idx}:{request.choice_index}"
            return live_chat_choice(request, prepared.chat, reader, name)
        completion: CompletionRequest = prepared.completion
        index = next(k for k, each in enumerate(prepared.requests) if each is request)
        prompt = prepared.prompts[index // completion.num_choices]
        return live_completion_choice(
            index, completion, self._answers.tokenizer, prompt.text, request
        )

    def _collect(self, piece: Piece) -> None:
        """The choices that a step moved on are told in one message."""
        if not self._pieces:
            asyncio.get_running_loop().call_soon(self._send)
        self._pieces.append(piece)

    def _send(self) -> None:
        lease = self._job.lease
        pieces, self._pieces = tuple(self._pieces), []
        step = Step(attempt=lease.fence, number=self._num_steps, pieces=pieces)
        self._num_steps += 1
        self._publish(lease.batch_id, lease.idx, step.encode())
