"""The fault switches: which requests and connections fail, how, and how often."""

import threading
from collections.abc import Callable
from fnmatch import fnmatchcase

import attrs

from wiro_async.testing._faults.chaos import ChaosPlan, Quirks
from wiro_async.testing._faults.http_faults import HttpFault
from wiro_async.testing._faults.socket_faults import SocketFault
from wiro_async.testing._records import Call


@attrs.define(eq=False)
class _Budget:
    """Skips the first `after` candidates, then hits the next `times` (None: all)."""

    times: int | None
    after: int

    def hit(self) -> bool:
        if self.after:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


@attrs.frozen(eq=False)
class _HttpRule:
    endpoint: str
    fault: HttpFault
    budget: _Budget
    when: Callable[[Call], bool] | None

    def matches(self, call: Call, parsed: bool) -> bool:
        if not fnmatchcase(call.endpoint, self.endpoint):
            return False
        if self.when is None:
            return not parsed
        return parsed and self.when(call)


@attrs.define(eq=False)
class Faults(Quirks):
    """The faults of an emulator. Times are real seconds; the emulator's speed does not scale them.

    Attributes:
        detail_lag: Task/Detail shows the state as of this many seconds ago.
        empty_tasklist: the first n responses of Task/Detail for a task list nothing.
        list_lag: Task/List hides tasks younger than this.
        output_lag: an output URL responds with 404 the first n times.
        stored_error: each task shows the stored status `task_error` once, then is queued again.
        sync_timeout: a `/sync` run responds with 504 after this.
        clock_skew: the service's clock is ahead by this, in `Date` headers and in the times of tasks.
    """

    sync_timeout: float = 2400.0
    clock_skew: float = 0.0
    _http: list[_HttpRule] = attrs.field(factory=list[_HttpRule], init=False)
    _socket: list[tuple[SocketFault, _Budget]] = attrs.field(factory=list[tuple[SocketFault, _Budget]], init=False)
    _plan: ChaosPlan | None = attrs.field(default=None, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def http(
        self,
        endpoint: str,
        fault: HttpFault,
        times: int | None = 1,
        after: int = 0,
        when: Callable[[Call], bool] | None = None,
    ) -> None:
        """Add a fault for requests. The first rule that matches a request applies.

        Args:
            endpoint: a pattern such as "Run/*", "Task/Detail", "File/Upload" or "files/*" (files by their URL).
            fault: what happens to the requests.
            times: number of requests to hit. None hits all.
            after: number of matching requests that pass first.
            when: hit only calls for which this returns True. It receives the call with its parameters.
        """
        with self._lock:
            self._http.append(_HttpRule(endpoint, fault, _Budget(times, after), when))

    def socket(self, fault: SocketFault, times: int | None = None, after: int = 0) -> None:
        """Add a fault for WebSockets. The first `after` pass, the next `times` are hit (None: all). Faults add up."""
        with self._lock:
            self._socket.append((fault, _Budget(times, after)))

    def random(self, seed: int, rate: float = 0.1) -> ChaosPlan:
        """Let a seeded plan hit each request, connection, message and task with the probability `rate`."""
        self._plan = ChaosPlan(seed, rate)
        return self._plan

    def clear(self) -> None:
        """Switch all faults off. Open connections keep theirs."""
        with self._lock:
            self._http.clear()
            self._socket.clear()
            self._plan = None
        for field in attrs.fields(Faults):
            if not field.name.startswith("_"):
                setattr(self, field.name, field.default)

    def draw_http(self, call: Call, *, parsed: bool) -> HttpFault | None:
        """Return the fault for a request, if any. Called on arrival, and again when the body is read."""
        with self._lock:
            for rule in self._http:
                if rule.matches(call, parsed) and rule.budget.hit():
                    return rule.fault
            return self._plan.http(call.endpoint) if self._plan and not parsed else None

    def draw_socket(self) -> list[SocketFault]:
        """Return the faults for a new connection."""
        with self._lock:
            drawn = [fault for fault, budget in self._socket if budget.hit()]
            return drawn + (self._plan.socket() if self._plan else [])

    def quirks(self, ordinal: int) -> Quirks:
        """Return the quirks of the n-th task: the switches and those of the plan."""
        return self._plan.quirks(ordinal, self) if self._plan else self
