"""This library over aiohttp: `transport=httpx_aiohttp.AiohttpTransport()`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx_aiohttp

from wiro_async import AsyncWiro

Run = Callable[[str, dict[str, Any]], Awaitable[Any]]


@asynccontextmanager
async def client(options: dict[str, Any]) -> AsyncGenerator[Run]:
    """A function that runs a model to its end."""
    transport = httpx_aiohttp.AiohttpTransport(limits=httpx.Limits(max_connections=100))
    async with AsyncWiro(**options, transport=transport) as wiro:
        yield wiro.run
