"""Fixtures of the tests of the API."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The path of a journal."""
    return tmp_path / "run.sqlite"
