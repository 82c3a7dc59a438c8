"""Audio for realtime sessions: read and write WAV files, and the constants of the format.

async with wiro.realtime("owner/model") as session:
    await session.send_stream(read_wav("question.wav"))
    await write_wav("answer.wav", session.audio(turns=1))
"""

from wiro_async._protocol.conversations.realtime_audio import BYTES_PER_SECOND, FRAME_BYTES, SAMPLE_RATE
from wiro_async._transport.audio.wav import read_wav, write_wav

__all__ = ["BYTES_PER_SECOND", "FRAME_BYTES", "SAMPLE_RATE", "read_wav", "write_wav"]
