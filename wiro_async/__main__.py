"""`python -m wiro_async demo`: see the library at work."""

import sys
from collections.abc import Sequence

USAGE = "usage: python -m wiro_async demo [options]    (demo --help lists them)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] != ["demo"]:
        asked = given[:1] in (["-h"], ["--help"])
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    try:
        from wiro_async._demo.cli import main as demo
    except ModuleNotFoundError as error:
        print(f"the demo needs {error.name}; try: pip install 'wiro-async[demo]'", file=sys.stderr)
        return 1
    return demo(given[1:])


if __name__ == "__main__":
    sys.exit(main())
