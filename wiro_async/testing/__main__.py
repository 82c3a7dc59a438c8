"""`python -m wiro_async.testing`: an emulator in its own process."""

import argparse
import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from wiro_async.testing import WiroEmulator


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, or until standard input ends if that is a pipe.

    Prints one JSON line with the connection options to standard output when ready.
    """
    options = _parser().parse_args(arguments)
    emulator = WiroEmulator(
        api_secret=None if options.no_secret else "emulator-secret",
        balance=options.balance,
        speed=options.speed,
        generation=options.generation,
        host=options.host,
        port=options.port,
    )
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with emulator:
        sys.stdout.write(json.dumps(emulator.options()) + "\n")
        sys.stdout.flush()
        if stat.S_ISFIFO(os.fstat(0).st_mode):
            threading.Thread(target=_watch_input, args=(done,), daemon=True).start()
        done.wait()
    if options.ledger:
        options.ledger.write_text(json.dumps(emulator.ledger.as_json()), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wiro_async.testing", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--speed", type=float, default=1.0, help="run everything this many times as fast")
    parser.add_argument("--balance", type=Decimal, default=Decimal(1000), help="US dollars at the start")
    parser.add_argument("--generation", choices=("mixed", "older", "newer"), default="mixed")
    parser.add_argument("--no-secret", action="store_true", help="require only the key, no signature")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="write the ledger to this file as JSON at the end")
    return parser


def _watch_input(done: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    done.set()


if __name__ == "__main__":
    main()
