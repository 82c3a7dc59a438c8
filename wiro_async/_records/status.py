"""The states of a task and their order. https://wiro.ai/docs/tasks"""

from __future__ import annotations

from typing import Final

QUEUED: Final = "task_queue"
STARTED: Final = "task_start"
OUTPUT: Final = "task_output"
ERROR: Final = "task_error"
FINISHED: Final = "task_postprocess_end"
CANCELLED: Final = "task_cancel"

ORDER: Final = (
    QUEUED,
    "task_accept",
    "task_preprocess_start",
    "task_preprocess_end",
    "task_assign",
    STARTED,
    OUTPUT,
    "task_output_full",
    "task_end",
    "task_postprocess_start",
    FINISHED,
)
READY: Final = "task_stream_ready"  # a realtime session takes audio
RANK: Final = {status: 2 * rank for rank, status in enumerate(ORDER)} | {
    READY: 2 * ORDER.index(STARTED) + 1,
    CANCELLED: 2 * len(ORDER),
}
STARTED_RANK: Final = RANK[STARTED]


def is_over(status: str) -> bool:
    """Only these two end a task: `task_end` fires before the outputs exist, `task_error` is a line of log."""
    return status in (FINISHED, CANCELLED)
