# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async"]
# ///
"""Follow a run: its status, its progress, its log.

python follow.py "a lighthouse at dusk" [owner/model]
"""

import asyncio
import sys

from wiro_async import AsyncWiro, LogLine, Progress, StatusChanged, TaskFinished


async def main(prompt: str = "a lighthouse at dusk", model: str = "google/nano-banana-pro") -> None:
    async with AsyncWiro() as wiro:
        task = await wiro.submit(model, {"prompt": prompt})
        async for event in task.events():
            match event:
                case StatusChanged():
                    print(event.status)
                case Progress():
                    print(f"  {event.fraction:4.0%}  about {event.eta} s left")
                case LogLine():
                    print(f"  {event.stream}: {event.text}")
                case TaskFinished():
                    print(f"exit code {event.result.info.exit_code}")
        result = await task  # raises TaskFailedError or TaskCancelledError without one
        print(await result.output.save("picture.png"))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
