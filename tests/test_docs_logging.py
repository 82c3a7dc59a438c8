"""docs/logging.md: every message that the package logs, and no other."""

import ast
import re
from pathlib import Path

import wiro_async

ROOT = Path(wiro_async.__file__).parent
PAGE = Path(__file__).parent.parent / "docs" / "logging.md"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}


def test_every_message_is_documented_with_its_level() -> None:
    """The emulator logs for itself."""
    logged = set()
    for file in ROOT.rglob("*.py"):
        if "testing" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(ast.Name("logger"), level), args=[ast.Constant(message), *_]):
                    logged.add((LEVELS[level], message))
    rows = re.findall(r"^\| (\w+) \| `(.+?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(logged) > 20
    assert set(rows) == logged
