"""The ledger: everything that the emulator received, for tests to check."""

from collections import Counter
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

import attrs

from wiro_async.testing._json import Json
from wiro_async.testing._records import Call, CallbackRecord, SocketRecord, Submission, TaskSnapshot


@attrs.define(eq=False)
class Ledger:
    """Everything that the emulator received, in order. Its thread writes; any other thread may read."""

    calls: list[Call] = attrs.field(factory=list[Call], init=False)
    submissions: list[Submission] = attrs.field(factory=list[Submission], init=False)
    sockets: list[SocketRecord] = attrs.field(factory=list[SocketRecord], init=False)
    callbacks: list[CallbackRecord] = attrs.field(factory=list[CallbackRecord], init=False)
    _snapshot: Callable[[], Mapping[str, TaskSnapshot]]
    _file_urls: Callable[[], list[str]]

    @property
    def tasks(self) -> Mapping[str, TaskSnapshot]:
        """The true state of every task, by id."""
        return self._snapshot()

    @property
    def file_urls(self) -> list[str]:
        """The URLs of all uploads and outputs that were not deleted. Each holds its access key."""
        return self._file_urls()

    @property
    def open_sockets(self) -> list[SocketRecord]:
        """The connections that are open now."""
        return [socket for socket in list(self.sockets) if socket.closed_at is None]

    def count(self, endpoint: str = "*") -> int:
        """Return how many requests match a pattern, such as `count("Task/Detail")` or `count("Run/*")`."""
        return sum(fnmatchcase(call.endpoint, endpoint) for call in list(self.calls))

    def submissions_by(self, parameter: str) -> dict[str, list[Submission]]:
        """Group submissions by the text of one parameter, to find runs that were billed twice."""
        groups: dict[str, list[Submission]] = {}
        for submission in list(self.submissions):
            groups.setdefault(str(submission.parameters.get(parameter, "")), []).append(submission)
        return groups

    def clear(self) -> None:
        """Remove everything but the sockets that are still open."""
        self.calls.clear()
        self.submissions.clear()
        self.callbacks.clear()
        self.sockets[:] = self.open_sockets

    def as_json(self) -> dict[str, Json]:
        """Return the ledger as plain JSON, for another process."""
        return {
            "calls": dict(Counter(call.endpoint for call in list(self.calls))),
            "submissions": [_submission(submission) for submission in list(self.submissions)],
            "sockets": [attrs.asdict(s, filter=attrs.filters.exclude("headers")) for s in list(self.sockets)],
            "callbacks": [attrs.asdict(callback) for callback in list(self.callbacks)],
            "tasks": {task.id: attrs.asdict(task) for task in self.tasks.values()},
        }


def _submission(submission: Submission) -> dict[str, Json]:
    record = attrs.asdict(submission, recurse=False, filter=attrs.filters.exclude("files"))
    files = [attrs.asdict(file, filter=attrs.filters.exclude("data")) for file in submission.files]
    return {**record, "files": files}
