"""This library, as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from wiro_async import AsyncWiro

Run = Callable[[str, dict[str, Any]], Awaitable[Any]]


@asynccontextmanager
async def client(options: dict[str, Any]) -> AsyncGenerator[Run]:
    """A function that runs a model to its end."""
    async with AsyncWiro(**options) as wiro:
        yield wiro.run
