"""Options of the chaos suite, and an engine whose patience is short, so that hundreds of faults fit into seconds."""

import pytest

from wiro_async._engine import hub, limiter, poller, reconciler, stopping, submitter
from wiro_async._transport import socket

RUNS = 2000
RUNS_PER_SESSION = 250
FIRST_SEED = 1
IMPATIENT = (
    (submitter, "ANSWERED_GRACE", 2.0),
    (reconciler, "FIRST_LOOK", 0.05),
    (reconciler, "LOOK_CAP", 0.2),
    (poller, "FIRST_LOOK", 0.1),
    (poller, "SILENCE", 0.2),
    (poller, "SILENCE_CAP", 1.0),
    (poller, "POLL_FLOOR", 0.05),
    (poller, "POLL_CAP", 0.5),
    (poller, "AGREEMENT", 0.05),
    (poller, "REFUSED_GRACE", 0.5),
    (poller, "UNKNOWN_GRACE", 5.0),
    (limiter, "BESIDE_SECONDS", 0.5),
    (hub, "BACKOFF", 0.02),
    (hub, "BACKOFF_CAP", 0.5),
    (limiter, "OTHERS_SECONDS", 0.1),
    (limiter, "OTHERS_CAP", 1.0),
    (stopping, "TRY_AGAIN", 0.05),
    (socket, "CLOSE_SECONDS", 0.2),
    (socket, "PING_SECONDS", 2.0),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/chaos --chaos-runs 20000 --chaos-seed 7`; known only where pytest is pointed at this folder."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-runs", type=int, help=f"how many runs the chaos suite makes ({RUNS})")
    group.addoption("--chaos-seed", type=int, help=f"the seed of its first session ({FIRST_SEED})")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each session of the chaos suite: consecutive seeds, some hundred runs each, and what once failed."""
    if "chaos_seed" in metafunc.fixturenames:
        runs = metafunc.config.getoption("chaos_runs", None) or RUNS
        first = metafunc.config.getoption("chaos_seed", None) or FIRST_SEED
        sizes = [min(RUNS_PER_SESSION, runs - done) for done in range(0, runs, RUNS_PER_SESSION)]
        sessions = [(first + number, size) for number, size in enumerate(sizes)]
        if first == FIRST_SEED:
            sessions += getattr(metafunc.module, "REGRESSIONS", [])
        metafunc.parametrize("chaos_seed, chaos_runs", sessions)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every wait of the engine."""
    for module, name, seconds in IMPATIENT:
        monkeypatch.setattr(module, name, seconds)
