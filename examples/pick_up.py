# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async"]
# ///
"""Start a run in one process and pick it up in another.

    python pick_up.py start "a lighthouse at dusk" [owner/model]     prints a token
    python pick_up.py finish TOKEN

A token gives access to its run. Keep it like a password.
"""

import asyncio
import sys

from wiro_async import AsyncWiro, TaskTimeoutError


async def start(prompt: str, model: str = "google/nano-banana-pro") -> None:
    async with AsyncWiro() as wiro:
        task = await wiro.submit(model, {"prompt": prompt})
        print(task.token)


async def finish(token: str) -> None:
    async with AsyncWiro() as wiro:
        task = wiro.task(token)
        try:
            result = await task.result(timeout=60)
        except TaskTimeoutError as error:
            print(f"still at {error.last_status}; the run continues, try again later")
        else:
            print(await result.output.save("picture.png"))


async def main(command: str, *arguments: str) -> None:
    if command == "start":
        await start(*arguments)
    else:
        await finish(*arguments)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
