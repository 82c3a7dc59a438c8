# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async"]
# ///
"""Run a model and save its outputs.

python run.py "a lighthouse at dusk" [owner/model]
"""

import asyncio
import sys

from wiro_async import AsyncWiro


async def main(prompt: str = "a lighthouse at dusk", model: str = "google/nano-banana-pro") -> None:
    async with AsyncWiro() as wiro:
        result = await wiro.run(model, {"prompt": prompt}, timeout=600)
        for path in await result.save("pictures"):
            print(f"{path}  ({result.elapsed} s, ${result.cost})")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
