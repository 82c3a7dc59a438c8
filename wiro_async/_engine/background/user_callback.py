"""Calling a user's function, which may be a coroutine function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import ParamSpec, TypeVar, cast

Arguments = ParamSpec("Arguments")
T = TypeVar("T")


async def call_user(
    function: Callable[Arguments, Awaitable[T] | T], *arguments: Arguments.args, **named: Arguments.kwargs
) -> T:
    """Call a function and return what it gives; await that if it is awaitable. Raises what the function raises."""
    given = function(*arguments, **named)
    # A `T` may be awaitable itself as far as types can say; here whatever is awaitable is awaited.
    return await cast("Awaitable[T]", given) if isawaitable(given) else given
