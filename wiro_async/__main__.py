"""`python -m wiro_async demo`: run the demo."""

import sys
from collections.abc import Sequence

USAGE = "usage: python -m wiro_async demo [options]    (demo --help lists them)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] != ["demo"]:
        wants_help = given[:1] in (["-h"], ["--help"])
        print(USAGE, file=sys.stdout if wants_help else sys.stderr)
        return 0 if wants_help else 2
    try:
        from wiro_async._demo.cli import main as demo
    except ModuleNotFoundError as error:
        print(f"the demo needs {error.name}; run: pip install 'wiro-async[demo]'", file=sys.stderr)
        return 1
    return demo(given[1:])


if __name__ == "__main__":
    sys.exit(main())
