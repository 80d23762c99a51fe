"""The Python API of headrace: see docs/PYTHON.md.

Owns: the names that programs may import. Must not know: anything else; the code is in
worker/library. Importing this loads neither torch nor a model.
"""

from jobs.queue import BatchState, BatchStatus
from worker.library.actor import EngineActor
from worker.library.async_batch import AsyncBatch
from worker.library.async_client import AsyncClient
from worker.library.client import Batch, Client
from worker.library.engine import Engine
from worker.library.errors import HeadraceError
from worker.library.result_stream import AsyncResults
from worker.library.results import Results

__all__ = [
    "AsyncBatch",
    "AsyncClient",
    "AsyncResults",
    "Batch",
    "BatchState",
    "BatchStatus",
    "Client",
    "Engine",
    "EngineActor",
    "HeadraceError",
    "Results",
]
