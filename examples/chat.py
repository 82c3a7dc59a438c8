# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async[tools]"]
# ///
"""Talk to a model that may ask for the time. An empty line ends the conversation and prints its cost.

python chat.py [owner/model]
"""

import asyncio
import sys
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from wiro_async import AsyncWiro, TextDelta, TextReset, ToolCall, ToolOutput

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


def get_time(zone: Annotated[str, "a time zone, such as Europe/Paris"] = "UTC") -> str:
    """Return the current time in a time zone."""
    return datetime.now(ZoneInfo(zone)).isoformat(timespec="minutes")


async def main(model: str = "openai/gpt-5-2") -> None:
    async with AsyncWiro() as wiro:
        chat = wiro.conversation(model, tools=[get_time], run_tools=True)
        while prompt := (await asyncio.to_thread(sys.stdin.readline)).strip():
            async with chat.stream(prompt) as stream:
                async for event in stream:
                    match event:
                        case TextDelta(text=text, kind="answer"):
                            print(text, end="", flush=True)
                        case TextReset(kind="answer"):
                            print("\n(the model starts over)")
                        case ToolCall(name=name, arguments=arguments):
                            print(f"{DIM}{name} {arguments}{PLAIN}")
                        case ToolOutput(output=output):
                            print(f"{DIM}{output}{PLAIN}")
            print()
        print(f"{len(chat.history)} turns, {chat.usage.get('total_tokens', 0)} tokens, ${chat.cost}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
