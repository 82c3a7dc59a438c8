# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async"]
# ///
"""Read an answer while the model writes it. Ctrl-C also stops the model.

python stream.py "Explain tides to a sailor" [owner/model]
"""

import asyncio
import sys

from wiro_async import AsyncWiro, TextReset

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


async def main(prompt: str = "Explain tides to a sailor", model: str = "openai/gpt-5-2") -> None:
    async with AsyncWiro() as wiro, wiro.stream(model, {"prompt": prompt}) as stream:
        async for delta in stream:
            if isinstance(delta, TextReset):
                print("\n(the model starts over)")
            else:
                print(f"{DIM if delta.kind == 'thinking' else PLAIN}{delta.text}", end="", flush=True)
        result = await stream.result()
        tokens = result.usage.get("total_tokens", "?")
        print(f"{PLAIN}\n{result.finish_reason or 'done'}: {tokens} tokens, ${result.cost}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
