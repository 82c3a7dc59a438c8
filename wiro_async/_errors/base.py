"""The base of all errors, and the errors that a change in the calling program fixes.

Exceptions pickle their positional arguments by default, so an error with several facts breaks as soon as its
constructor changes, and loses its cause. Here every fact is an attribute, named like the keyword argument that sets
it. One `__reduce__` copies the attributes and the cause, and `__str__` makes the sentence from them.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable
from typing import Self, TypedDict, Unpack

from wiro_async._public import public
from wiro_async._redaction import redact, remove_secrets


class TaskFacts(TypedDict, total=False):
    """The keyword arguments of every error: the run that it is about."""

    model: str | None
    task_id: str | None
    token: str | None


@public
class WiroError(Exception):
    """Base of all errors of this library.

    Attributes:
        model: the model that was to run, "owner/model", if the error is about a run.
        task_id: the id of the task, if one was made.
        token: the secret token of the task. `wiro.task(error.token)` picks the run up again. Never part of the message.
    """

    model: str | None = None
    task_id: str | None = None
    token: str | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__.startswith("wiro_async."):  # an app's own subclass keeps its module
            public(cls)

    def __init__(self, message: str = "", **facts: Unpack[TaskFacts]) -> None:
        # TimeoutError is an OSError, whose constructor takes its arguments for an errno and a file name.
        Exception.__init__(self, *([redact(message)] if message else []))
        self.with_task(facts.get("task_id"), facts.get("token"), model=facts.get("model"))

    def __str__(self) -> str:
        text = self._sentence()
        facts = list(self._details())
        if self.model and self.model not in text:
            facts.append(f"model {self.model}")
        if self.task_id and self.task_id not in text:
            facts.append(f"task {self.task_id}")
        first, line_end, rest = text.partition("\n")
        shown = f"{first.removesuffix(':')} ({', '.join(facts)}){':' * first.endswith(':')}" if facts else first
        return remove_secrets(redact(shown + line_end + rest), [self.token or ""])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[type[Self]], dict[str, object]]:
        state: dict[str, object] = {**vars(self), "args": self.args}
        for name in ("__cause__", "__suppress_context__"):
            state[name] = getattr(self, name)
        try:
            pickle.dumps(self.__cause__)
        except Exception:  # a cause of another library may hold a socket or a lock
            del state["__cause__"]
        return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]

    def with_task(self, task_id: str | None = None, token: str | None = None, *, model: str | None = None) -> Self:
        """Fill in the facts of the run that are still unknown, and return the error."""
        for name, value in (("model", model), ("task_id", task_id), ("token", token)):
            if value and not getattr(self, name):
                setattr(self, name, value)
        return self

    def _sentence(self) -> str:
        """The message without the trailing facts, before secrets are taken out."""
        return str(self.args[0]) if self.args else ""

    def _details(self) -> tuple[str, ...]:
        """Facts to show in parentheses after the first line."""
        return ()


class ConfigurationError(WiroError):
    """A key, URL or option of the session is missing or wrong."""


class UsageError(WiroError, RuntimeError):
    """An object was used out of order: entered twice, not entered, or already being iterated."""


class SessionClosedError(WiroError):
    """The session was closed, or belongs to another event loop."""


class ConversationBusyError(WiroError):
    """The conversation is still in another turn: wait for its end, or start another conversation."""


class WebhookVerificationError(WiroError):
    """A callback did not prove that it is authentic."""
