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
        """Its name among the tasks of this session: the token, else the id."""
        return self.token or self.task_id or ""
