# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async"]
# ///
"""Make many pictures at once and save each one as soon as it is ready. A failure does not stop the others.

    python batch.py prompts.txt [owner/model]

Each line of the file is a prompt.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from wiro_async import AsyncWiro, RunRequest


def requests(file: Path, model: str) -> Iterator[RunRequest]:
    """Read prompts when the batch asks for them, so the file may have any length."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield RunRequest(model, {"prompt": line.strip()}, key=f"{number:05d}", timeout=900)


async def main(file: str = "prompts.txt", model: str = "google/nano-banana-pro") -> None:
    async with AsyncWiro() as wiro, wiro.batch(requests(Path(file), model), concurrency=50) as batch:
        async for item in batch:
            if item.result is None:
                print(f"{item.key}  failed: {item.error}")
            else:
                print(f"{item.key}  {await item.result.output.save(f'pictures/{item.key}.png', overwrite=True)}")
        stats = batch.stats
    print(f"{stats.succeeded} done, {stats.failed} failed, ${stats.cost}, {stats.elapsed:.1f} s")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
