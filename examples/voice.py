# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async[audio]"]
# ///
"""Ask a voice model by a WAV file, and save what it answers as another.

python voice.py question.wav answer.wav owner/model [seconds of quiet that end it]
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from wiro_async import AsyncWiro, AudioChunk, RealtimeSession, Transcript
from wiro_async.audio import read_wav, write_wav


async def heard(session: RealtimeSession, asked: asyncio.Task[None], quiet: float) -> AsyncIterator[bytes]:
    """What the model says, until all was asked and it is quiet; the words are shown meanwhile."""
    while True:
        try:
            async with asyncio.timeout(quiet):
                event = await anext(session)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if asked.done():
                return
            continue
        match event:
            case AudioChunk():
                yield event.data
            case Transcript():
                print(f"{event.role}: {event.text}")


async def main(question: str, answer: str, model: str, quiet: str = "3") -> None:
    async with AsyncWiro() as wiro:
        async with wiro.realtime(model) as session, asyncio.TaskGroup() as group:
            asked = group.create_task(session.send_stream(read_wav(question), pace=True))
            seconds = await write_wav(answer, heard(session, asked, float(quiet)))
        result = await session.result()
        print(f"{answer}: {seconds:g} s, ${result.cost}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
