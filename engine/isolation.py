"""Finding the request that makes a step fail, without losing its neighbours.

Owns: which requests may run while a failed step is being taken apart. Must not know: why it failed.
The requests of a failed step are split in two and each half runs apart from the rest; a half that
fails is split again, so one culprit among n costs about 2 log2(n) steps. A group is done when each
of its requests has got past the point where it failed.
"""

from collections.abc import Mapping

from engine.step import StepPlan

__all__ = ["StepIsolation"]


class StepIsolation:
    """A stack of groups; only the topmost may run. Empty means: everything runs as usual."""

    def __init__(self) -> None:
        self._groups: list[dict[str, int]] = []

    @property
    def group(self) -> Mapping[str, int] | None:
        """The request ids that may run now, None if all may."""
        return self._groups[-1] if self._groups else None

    def fail(self, plan: StepPlan) -> str | None:
        """Take a failed plan apart. Returns the culprit's id if the plan held it alone."""
        targets = {
            row.request_id: row.num_computed_tokens + row.num_new_tokens for row in plan.rows
        }
        if self._groups:
            for request_id in targets:
                self._groups[-1].pop(request_id, None)
            if not self._groups[-1]:
                self._groups.pop()
        if len(targets) == 1:
            return next(iter(targets))
        items = list(targets.items())
        middle = len(items) // 2
        self._groups += [dict(items[middle:]), dict(items[:middle])]
        return None

    def passed(self, request_id: str, num_computed_tokens: int) -> None:
        """A step with this request succeeded, and it stands at `num_computed_tokens`."""
        if self._groups and num_computed_tokens >= self._groups[-1].get(request_id, 0):
            self.forget(request_id)

    def forget(self, request_id: str) -> None:
        """The request got past its point of failure, or ended."""
        for group in self._groups:
            group.pop(request_id, None)
        self._groups = [group for group in self._groups if group]
