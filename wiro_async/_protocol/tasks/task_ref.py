"""How requests name a task."""

from __future__ import annotations

import attrs


@attrs.frozen
class TaskRef:
    """Which task: its secret token, its id, or both."""

    task_id: str | None = None
    token: str | None = attrs.field(default=None, repr=False)

    @property
    def key(self) -> str:
        """The token, or else the id: unique among the tasks of a session."""
        return self.token or self.task_id or ""
