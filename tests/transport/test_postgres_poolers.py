"""A real pgbouncer between a journal and its database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from wiro_async import JournalError
from wiro_async._transport.postgres.postgres_connection import DatabaseConnection, PostgresTiming
from wiro_async._transport.postgres.postgres_errors import DatabaseUrl
from wiro_async._transport.postgres.postgres_thread import Postgres

if TYPE_CHECKING:
    from postgres_server import PostgresServer

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer on this machine")
TIMING = PostgresTiming(connect=2, statement=2, pulse=0.2, pause=0.02, max_pause=0.1, close=1, batch=50)
Pooled: TypeAlias = Callable[[str], str]


@pytest.fixture
def pooled(postgres_server: PostgresServer, database: str) -> Iterator[Pooled]:
    """A function that starts pgbouncer in a mode and returns the URL of the test's database behind it."""
    running: list[subprocess.Popen[bytes]] = []
    folder = Path(tempfile.mkdtemp())

    def pooled(mode: str) -> str:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        direct = postgres_server.url(database)
        user, _, password = direct.partition("://")[2].partition("@")[0].partition(":")
        users, settings = folder / "users", folder / "pgbouncer.ini"
        users.write_text(f'"{user}" "{password}"\n')
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres_server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {users}\npool_mode = {mode}\n"
        )
        for path in (folder, users, settings):
            path.chmod(0o755)  # pgbouncer runs as another user where the tests run as root
        assert PGBOUNCER is not None
        options = {"user": "nobody", "cwd": "/"} if os.getuid() == 0 else {}
        command = [PGBOUNCER, "--quiet", str(settings)]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, **options))  # type: ignore[call-overload]
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert running[-1].poll() is None
                time.sleep(0.02)
        return direct.replace(f":{postgres_server.port}/", f":{port}/")

    yield pooled
    for process in running:
        process.terminate()
        process.wait()
    shutil.rmtree(folder)


async def nothing(connection: DatabaseConnection) -> None:
    """Do nothing."""


def connections(url: str, on_news: Callable[[str | None], None]) -> Postgres:
    """Return connections that are not open yet."""
    return Postgres(
        DatabaseUrl(url),
        TIMING,
        prepare=nothing,
        pulse=nothing,
        farewell=nothing,
        channel=lambda: "things",
        on_news=on_news,
    )


async def test_session_mode(pooled: Pooled, until: Callable[..., object]) -> None:
    """Statements and notifications work as without a pooler."""
    news: list[str | None] = []
    postgres = connections(pooled("session"), news.append)
    await postgres.open()
    assert await postgres.fetch("SELECT 1", (), 5)
    await postgres.fetch("SELECT pg_notify('things', 'told')", (), 5)
    await until(lambda: news == ["told"])  # type: ignore[misc]
    await postgres.aclose()


async def test_transaction_mode_is_refused(pooled: Pooled) -> None:
    """Statements of different clients would be mixed up there."""
    postgres = connections(pooled("transaction"), lambda _: None)
    with pytest.raises(JournalError, match="in session mode"):
        await postgres.open()
