"""What is sent for a suite's rows.

Owns: samples and seeds of the requests. Must not know: files, the queue.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import xxhash

from jobs.evals.rows import EvalRow, Scorer

__all__ = ["is_sampled", "to_send"]

_SEED_MASK = 2**63 - 1


def is_sampled(row: EvalRow) -> bool:
    """Whether asking it twice can give two answers."""
    return row.scorer is not Scorer.CHOICE and row.body.get("temperature") != 0


def to_send(rows: Iterable[EvalRow], *, samples: int, seed: int) -> Iterator[EvalRow]:
    """The rows with `samples` choices each, and a seed where they are drawn.

    A seed follows from `seed` and the row's id alone, so that a row draws the same answers in
    whatever company and order it is run. A greedy row is asked once: all its samples are the same.
    """
    for row in rows:
        if not is_sampled(row):
            yield row
            continue
        body = dict(row.body)
        if samples > 1:
            body["n"] = samples
        if body.get("seed") is None:
            text = f"{seed}:{row.custom_id}".encode("utf-8", "surrogatepass")
            body["seed"] = xxhash.xxh3_64_intdigest(text) & _SEED_MASK
        yield replace(row, body=body)
