"""Doubles of what records work of a device."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["FakeRecorder", "NoHostReads"]

_HOST_READS = (
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::item",
    "aten::masked_select",
    "aten::nonzero",
    "aten::unique_dim",
    "aten::_unique2",
)


class NoHostReads(TorchDispatchMode):
    """Raises where the host would wait for a device's numbers, as CUDA does in a capture."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name
        if name in _HOST_READS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        return func(*args, **(kwargs or {}))


class FakeRecorder:
    """Replays by doing the work again, on the memory that it was recorded with."""

    def __init__(self) -> None:
        self.num_recorded = 0
        self.num_replayed = 0

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        with NoHostReads():
            work()
        self.num_recorded += 1

        def replay() -> None:
            self.num_replayed += 1
            with torch.inference_mode():
                work()

        return replay
