"""This SDK with its defaults."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from harness import Run
from wiro_async import AsyncWiro


@asynccontextmanager
async def client(options: dict[str, Any]) -> AsyncGenerator[Run]:
    async with AsyncWiro(**options) as wiro:
        yield wiro.run
