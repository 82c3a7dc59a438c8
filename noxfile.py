"""One command for people and machines: `nox -s tests | lint | bench | demo`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
BENCHMARKS = [
    ["run"],
    ["runner"],
    ["batch_wall", "--plot", "docs/batch-wall.png"],
    ["transfers"],
    ["text"],
    ["latency"],
    ["wire"],
    ["fairness", "--seconds", "4"],
    ["soak"],
    ["kill"],
]
PYTEST = ["-m", "pytest", "--numprocesses=5", "--dist=worksteal"]  # most tests wait for timelines
BUILT: list[Path] = []
TESTED: list[str] = []

os.environ.setdefault("UV_NATIVE_TLS", "1")  # trust whom the machine trusts, as pip does

# pyenv's shims answer only for the version that is switched on: look where the interpreters lie, too.
for folder in sorted(Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob("versions/3.1[1-9].*/bin")):
    os.environ["PATH"] += os.pathsep + str(folder)


def groups(*names: str) -> list[str]:
    """The requirements of dependency groups."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


def wheel(session: nox.Session) -> Path:
    """The project's wheel, built once per nox run and shared by all sessions."""
    if not BUILT:
        folder = session.cache_dir / "wheel"
        shutil.rmtree(folder, ignore_errors=True)
        session.install(*PYPROJECT["build-system"]["requires"])
        session.run("python", "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), silent=True)
        BUILT.extend(folder.glob("*.whl"))
    return BUILT[0]


def install(session: nox.Session, *requirements: str, extras: str) -> None:
    """The wheel with extras, and what else the session needs; the checkout itself stays out of `sys.path`."""
    session.env["PYTHONSAFEPATH"] = "1"
    session.install(f"{wheel(session)}[{extras}]", *requirements)
    session.install("--force-reinstall", "--no-deps", str(wheel(session)))


@nox.session(python=PYTHONS, reuse_venv=True)
def tests(session: nox.Session) -> None:
    """The test suite against the installed wheel; arguments go to pytest. The newest Python counts covered lines."""
    set_up_tests(session)
    if TESTED:
        session.env["WIRO_TEST_CHAOS_RUNS"] = "250"  # the first Python has gone through them all
    TESTED.append(session.name)
    if session.posargs:
        session.run("python", "-m", "pytest", *session.posargs)
    elif session.python == PYTHONS[-1]:
        covered(session, COVERAGE_CORE="sysmon")  # costs next to nothing, but does not know branches there
    else:
        session.run("python", *compiled(session))


@nox.session(reuse_venv=True)
def coverage(session: nox.Session) -> None:
    """The test suite once, counting branches, too; twice as slow."""
    set_up_tests(session)
    covered(session, "--branch")


def set_up_tests(session: nox.Session) -> None:
    """What the test suite needs."""
    install(session, *groups("tests"), extras="demo,report,tools,audio")
    session.env["WIRO_TEST_INSTALLED"] = "1"


def compiled(session: nox.Session) -> list[str]:
    """How to run all tests, once they are compiled: by one process, and not by each worker."""
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.run("python", "-m", "pytest", "--collect-only", "--quiet", silent=True)
    return PYTEST


def covered(session: nox.Session, *options: str, **variables: str) -> None:
    """Run the test suite and show what it did not reach."""
    session.env["COVERAGE_FILE"] = str(Path(session.create_tmp()) / "coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", *options, *compiled(session), env=variables)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Style, floors and types."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    names = ("cli", "emulator", "report", "tools", "audio")
    optional = [requirement for name in names for requirement in extras[name]]
    session.install(*PYPROJECT["project"]["dependencies"], *optional, *groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("mypy")
    session.run("pyright")


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """All benchmarks, and the README's picture; a name and its arguments (`-- kill --rounds 5`) run that one alone."""
    install(session, *groups("bench"), extras="emulator")
    chosen = [session.posargs] if session.posargs else BENCHMARKS
    for name, *arguments in chosen:
        session.run("python", f"benchmarks/{name}.py", *arguments, success_codes=[0, 1])  # 1: a target was missed


@nox.session(reuse_venv=True)
def demo(session: nox.Session) -> None:
    """The demo, against the emulator or live (`-- --live MODEL`); pictures land in demo-output/."""
    install(session, extras="demo")
    session.run("python", "-m", "wiro_async", "demo", *session.posargs)
