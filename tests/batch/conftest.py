"""Fixtures and options of the tests of batches."""

from __future__ import annotations

from pathlib import Path

import pytest

KILLS = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `pytest tests/batch --kills 50`. pytest knows it only when it is called for this folder."""
    parser.getgroup("batch").addoption("--kills", type=int, default=KILLS, help="how many batches are killed")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The path of a journal."""
    return tmp_path / "run.sqlite"
