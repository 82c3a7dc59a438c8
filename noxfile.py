"""The project's commands, for people and machines: `nox -s tests | lint | mutants | bench | demo`."""

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
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]  # missing interpreters are skipped
COVERED = "3.13"  # measures coverage: from 3.12 on that is nearly free
BENCHMARKS = [
    ["run", "--in-flight", "50", "200", "500"],
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
PYTEST = ["-m", "pytest", "--numprocesses=6", "--dist=worksteal"]  # most tests wait, so more processes than cores
BUILT: list[Path] = []
TESTED: list[str] = []

os.environ.setdefault("UV_NATIVE_TLS", "1")  # trust the certificates of the machine, as pip does

# pyenv's shims work only for the selected version, so the folders of all interpreters are searched, too.
for folder in sorted(Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob("versions/3.1[1-9].*/bin")):
    os.environ["PATH"] += os.pathsep + str(folder)


def groups(*names: str) -> list[str]:
    """Return the requirements of dependency groups."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


def wheel(session: nox.Session) -> Path:
    """Return the project's wheel, built once per nox run and shared by all sessions."""
    if not BUILT:
        folder = session.cache_dir / "wheel"
        shutil.rmtree(folder, ignore_errors=True)
        session.install(*PYPROJECT["build-system"]["requires"])
        session.run("python", "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), silent=True)
        BUILT.extend(folder.glob("*.whl"))
    return BUILT[0]


def install(session: nox.Session, *requirements: str, extras: str) -> None:
    """Install the wheel with extras, and other requirements. The checkout itself stays out of `sys.path`."""
    session.env["PYTHONSAFEPATH"] = "1"
    session.install(f"{wheel(session)}[{extras}]", *requirements)
    session.install("--force-reinstall", "--no-deps", str(wheel(session)))


@nox.session(python=PYTHONS, reuse_venv=True)
def tests(session: nox.Session) -> None:
    """Run the tests against the installed wheel; arguments go to pytest. One Python measures coverage."""
    set_up_tests(session)
    if TESTED:
        session.env["WIRO_TEST_CHAOS_RUNS"] = "250"  # the first Python has run them all
        session.env["WIRO_TEST_HOSTILE_SHARE"] = "3"  # likewise: every third case of each test
    TESTED.append(session.name)
    if session.posargs:
        session.run("python", "-m", "pytest", *session.posargs)
    elif session.python == COVERED:
        covered(session, COVERAGE_CORE="sysmon")  # nearly free, but without branches
    else:
        session.run("python", *compiled(session))


@nox.session(reuse_venv=True)
def coverage(session: nox.Session) -> None:
    """Run the tests once and measure the coverage of branches. Twice as slow."""
    set_up_tests(session)
    covered(session, "--branch")


def set_up_tests(session: nox.Session) -> None:
    """Install what the tests need."""
    install(session, *groups("tests"), extras="demo,report,tools,audio,postgres")
    session.env["WIRO_TEST_INSTALLED"] = "1"


def compiled(session: nox.Session) -> list[str]:
    """Compile the tests in one process instead of in each worker, and return the command that runs them."""
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.run("python", "-m", "pytest", "--collect-only", "--quiet", silent=True)
    return PYTEST


def covered(session: nox.Session, *options: str, **variables: str) -> None:
    """Run the tests and show the lines that they did not reach."""
    session.env["COVERAGE_FILE"] = str(Path(session.virtualenv.location) / "coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", *options, *compiled(session), env=variables)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(reuse_venv=True)
def mutants(session: nox.Session) -> None:
    """Change the decisions of `_protocol`, one at a time, and count the changes that tests notice. Takes half an hour.

    With names (`-- "wiro_async._protocol.journal.*"`) try these only. Fails if too few are noticed.
    """
    extras = PYPROJECT["project"]["optional-dependencies"]
    session.install(*PYPROJECT["project"]["dependencies"], *extras["tools"], *groups("tests", "mutants"))
    session.env["PYTHONPATH"] = str(Path.cwd())
    session.run("mutmut", "run", *session.posargs)
    found = session.run("mutmut", "results", "--all", "true", silent=True)
    score = Score.of(str(found))
    session.log(score.table())
    if score.missed:
        session.error(f"below the aim: {', '.join(score.missed)}")


class Score:
    """How many mutants of each module the tests have noticed."""

    AIM = 85
    DECISIONS = ("journal.", "submission.", "tasks.poll_schedule")
    AIM_OF_DECISIONS = 90

    def __init__(self) -> None:
        self.noticed: dict[str, int] = {}
        self.tried: dict[str, int] = {}

    @classmethod
    def of(cls, results: str) -> Score:
        """Count the lines of `mutmut results`: a mutant's name, a colon, and what became of it."""
        score = cls()
        for line in results.splitlines():
            name, _, outcome = line.strip().partition(": ")
            if "__mutmut_" not in name or outcome == "not checked":
                continue
            module = name.rpartition(".")[0].removeprefix("wiro_async._protocol.")
            for group in (module, "decisions" if module.startswith(cls.DECISIONS) else "others"):
                score.tried[group] = score.tried.get(group, 0) + 1
                score.noticed[group] = score.noticed.get(group, 0) + (outcome in ("killed", "timeout"))
        return score

    def percent(self, group: str) -> float:
        """Return how many of a group's mutants were noticed."""
        return 100 * self.noticed.get(group, 0) / max(1, self.tried.get(group, 0))

    @property
    def missed(self) -> list[str]:
        """The groups below their aims."""
        aims = {"decisions": self.AIM_OF_DECISIONS, "others": self.AIM}
        return [
            f"{group} {self.percent(group):.1f} %"
            for group, aim in aims.items()
            if self.percent(group) < aim and group in self.tried
        ]

    def table(self) -> str:
        """Return a line for each module and group."""
        rows = [f"{self.percent(group):5.1f} %  {self.tried[group]:5}  {group}" for group in sorted(self.tried)]
        return "\n".join(["noticed  tried", *rows])


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Check style, layers and types."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    names = ("cli", "emulator", "report", "tools", "audio", "postgres")
    optional = [requirement for name in names for requirement in extras[name]]
    session.install(*PYPROJECT["project"]["dependencies"], *optional, *groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("mypy")
    session.run("pyright")


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Run all benchmarks and draw the README's picture. With a name and arguments (`-- kill --rounds 5`) run one."""
    install(session, *groups("bench"), extras="emulator,postgres")
    chosen = [session.posargs] if session.posargs else BENCHMARKS
    for name, *arguments in chosen:
        # Benchmarks import their helpers from their own folder. Exit code 1 means that a target was missed.
        script = f"benchmarks/{name}.py"
        session.run("python", script, *arguments, env={"PYTHONSAFEPATH": ""}, success_codes=[0, 1])


@nox.session(reuse_venv=True)
def demo(session: nox.Session) -> None:
    """Run the demo against the emulator or live (`-- --live MODEL`). Pictures are saved in demo-output/."""
    install(session, extras="demo")
    session.run("python", "-m", "wiro_async", "demo", *session.posargs)
