# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async[audio]"]
# ///
"""Send a WAV file to a voice model, and save its answer as another one.

python voice.py question.wav answer.wav owner/model [seconds of silence that end it]
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from wiro_async import AsyncWiro, AudioChunk, RealtimeSession, Transcript
from wiro_async.audio import read_wav, write_wav


async def answer_audio(session: RealtimeSession, sending: asyncio.Task[None], silence: float) -> AsyncIterator[bytes]:
    """Yield the model's audio until the question is sent and the model is silent. Print the words."""
    while True:
        try:
            async with asyncio.timeout(silence):
                event = await anext(session)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if sending.done():
                return
            continue
        match event:
            case AudioChunk():
                yield event.data
            case Transcript():
                print(f"{event.role}: {event.text}")


async def main(question: str, answer: str, model: str, silence: str = "3") -> None:
    async with AsyncWiro() as wiro:
        async with wiro.realtime(model) as session, asyncio.TaskGroup() as group:
            sending = group.create_task(session.send_stream(read_wav(question), pace=True))
            seconds = await write_wav(answer, answer_audio(session, sending, float(silence)))
        result = await session.result()
        print(f"{answer}: {seconds:g} s, ${result.cost}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
