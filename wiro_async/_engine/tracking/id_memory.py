"""What the session remembers of ids whose tasks it does not track (any more). Bounded: the oldest are forgotten."""

from __future__ import annotations

from enum import Flag, auto
from typing import TypeVar

import attrs

from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._protocol.tasks.task_ref import TaskRef

T = TypeVar("T")


class IdFact(Flag):
    """What is known of one id or token."""

    NONE = 0
    OURS = auto()  # the session made the task, or has identified it as one of its runs
    EXPECTS_CALLBACK = auto()  # a callback will report the end of the task
    REPORTED = auto()  # a callback has reported the end before anybody followed the task


@attrs.frozen
class MadeTask:
    """A task that was made here, and how it can be read: by the account that made it. None if that is not known."""

    ref: TaskRef
    calls: TaskCalls | None


class IdMemory:
    """Facts by id and by token, and the tasks that were given callback URLs by the ids in those."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._facts: dict[str, IdFact] = {}
        self._callbacks: dict[str, MadeTask] = {}

    def has(self, fact: IdFact, *keys: str | None) -> bool:
        """Whether a fact, or one of several, is known of one of these keys."""
        return any(fact & self._facts.get(key, IdFact.NONE) for key in keys if key)

    def add(self, fact: IdFact, *keys: str | None) -> None:
        """Remember a fact of all these keys."""
        for key in filter(None, keys):
            self._put(self._facts, key, self._facts.pop(key, IdFact.NONE) | fact)

    def take(self, fact: IdFact, *keys: str | None) -> bool:
        """Whether a fact is known of one of these keys; it is forgotten."""
        known = self.has(fact, *keys)
        if known:
            self._facts.update((key, self._facts[key] & ~fact) for key in keys if key in self._facts)
        return known

    def add_callback(self, intent_id: str, made: MadeTask) -> None:
        """Remember which task was given the callback URL with this id."""
        self._put(self._callbacks, intent_id, made)

    def callback(self, intent_id: str) -> MadeTask | None:
        """The task that was given the callback URL with this id."""
        return self._callbacks.get(intent_id)

    def _put(self, known: dict[str, T], key: str, value: T) -> None:
        known[key] = value
        if len(known) > self._limit:
            del known[next(iter(known))]
