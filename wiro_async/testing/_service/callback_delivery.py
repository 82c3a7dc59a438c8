"""Requests to a run's `callbackUrl`."""

import asyncio
import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from wiro_async.testing._json import Json, encode
from wiro_async.testing._records import CallbackRecord

TIMEOUT = 5.0  # seconds for the whole request


async def deliver(task_id: str, url: str, body: Mapping[str, Json], records: list[CallbackRecord]) -> None:
    """Send the body once and record the result. Only loopback hosts are called: nothing leaves the machine."""
    target = urlsplit(url)
    if target.scheme != "http" or not _is_loopback(target.hostname):
        return
    try:
        async with asyncio.timeout(TIMEOUT):
            status = await _post(target, encode(body))
    except (OSError, ValueError, IndexError, TimeoutError):
        status = None
    records.append(CallbackRecord(task_id, url, status))


async def _post(target: SplitResult, body: bytes) -> int:
    reader, writer = await asyncio.open_connection(target.hostname, target.port or 80)
    path = f"{target.path or '/'}{'?' if target.query else ''}{target.query}"
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {target.netloc}\r\nuser-agent: wiro-emulator\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    try:
        writer.write(head.encode() + body)
        await writer.drain()
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
