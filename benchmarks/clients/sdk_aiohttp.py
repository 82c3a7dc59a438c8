"""This SDK over aiohttp: `transport=httpx_aiohttp.AiohttpTransport()`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx_aiohttp

from harness import Run
from wiro_async import AsyncWiro


@asynccontextmanager
async def client(options: dict[str, Any]) -> AsyncGenerator[Run]:
    async with AsyncWiro(**options, transport=httpx_aiohttp.AiohttpTransport()) as wiro:
        yield wiro.run
