"""Keyword options: each is declared and documented once, in a TypedDict, and shown by `help()` where it is taken.

A method takes `**options: Unpack[RunOptions]`, which type checkers and editors understand. At run time Python accepts
any name there, so `check_options` refuses unknown ones, and `documented` copies the documentation of the TypedDict into
the method's docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TypeVar

C = TypeVar("C", bound=Callable[..., object])
MARK = "**options:"
SECTION = "Args:\n"


def check_options(
    function: str, options: Mapping[str, object], known: type, error: type[Exception] = TypeError
) -> None:
    """Raise an error for an option that the TypedDict `known` does not declare."""
    for name in options.keys() - known.__annotations__.keys():
        from difflib import get_close_matches

        close = get_close_matches(name, known.__annotations__, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known.__annotations__)}"
        raise error(f"{function}() has no option {name!r}; {hint}")


def documented(*options: type) -> Callable[[C], C]:
    """Replace the line `**options: …` of a docstring by the sections `Args:` of TypedDicts."""
    sections = [inspect.cleandoc(one.__doc__ or "").partition(SECTION)[2] for one in options]

    def document(described: C) -> C:
        if described.__doc__ is not None:  # python -OO removes docstrings
            lines = inspect.cleandoc(described.__doc__).splitlines()
            mark = next(number for number, line in enumerate(lines) if line.lstrip().startswith(MARK))
            lines[mark : mark + 1] = [line for section in sections for line in section.splitlines()]
            described.__doc__ = "\n".join(lines)
        return described

    return document
