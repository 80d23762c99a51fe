"""What turns jobs into rows: a loaded engine and its translator.

Owns: what the rest of the process needs to know about a loaded model. Must not know: how it was
loaded (loading.py), where jobs come from.
"""

from dataclasses import dataclass

from engine.async_engine import AsyncEngine
from worker.translate import Translator

__all__ = ["Machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An engine that is not started yet. `names` are what it serves; sizes are in tokens."""

    engine: AsyncEngine
    translator: Translator
    consumer: str
    names: tuple[str, ...]
    max_num_seqs: int
    kv_cache_tokens: int
    max_model_len: int
    device: str
    fingerprint: str
