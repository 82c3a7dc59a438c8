"""The sending half of a realtime session: audio cut into frames, in the order of the calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import anyio

from wiro_async._protocol.conversations.realtime_audio import Chunker, Pacer, audio_prefix
from wiro_async._transport import clock


class AudioSender:
    """Sends audio of any sizes in frames of one size.

    Args:
        transmit: sends one frame. What it raises goes to the caller.
        check: raises if nothing can be sent. Its argument says whether the sending of this audio has begun: the end
            of the session waits for that.

    Attributes:
        sent: bytes of audio that were sent.
    """

    def __init__(
        self, token: str, transmit: Callable[[bytes], Awaitable[None]], check: Callable[[bool], Awaitable[None]]
    ) -> None:
        self._prefix = audio_prefix(token)
        self._transmit = transmit
        self._check = check
        self._chunker, self._pacer = Chunker(), Pacer()
        self._turn = anyio.Lock()  # first come, first served: audio is sent in the order of the calls
        self._waiting = set[anyio.CancelScope]()
        self._is_closed = False
        self.sent = 0

    async def send(self, pcm: memoryview, pace: bool) -> None:
        """Send audio in full frames. Cancelling it may have sent a part, and the rest is dropped."""
        await self._check(False)
        async with self._turn:
            try:
                for chunk in self._chunker.feed(pcm):
                    if pace:
                        with self.until_closed():
                            await anyio.sleep(self._pacer.delay(clock.loop_time(), len(chunk)))
                    await self._check(not pace)  # paced audio is cut short by the end
                    await self._send_chunk(chunk, self._transmit)
            except BaseException:
                # A later call must not begin with the end of audio whose middle is missing.
                self._chunker.clear()
                raise

    async def align(self) -> None:
        """Begin with a whole sample. Half a sample of the calls before this one is dropped."""
        async with self._turn:
            self._chunker.align()

    async def flush(self) -> None:
        """Send what does not fill a frame."""
        await self._check(False)
        async with self._turn:
            await self._check(True)
            await self._flush(self._transmit)

    async def finish(self, last: str, transmit: Callable[[str | bytes], Awaitable[None]]) -> None:
        """Send the rest of the audio of all calls before this one, then a last frame. The input may be closed."""
        async with self._turn:
            await self._flush(transmit)
            await transmit(last)

    def close(self) -> None:
        """Stop waiting for audio: for its time, where it is paced, or for its source."""
        self._is_closed = True
        for scope in self._waiting:
            scope.cancel()

    @contextmanager
    def until_closed(self) -> Generator[None]:
        """Leave the block silently when the input is closed, also if it is closed already."""
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            if self._is_closed:
                scope.cancel()
            try:
                yield
            finally:
                self._waiting.discard(scope)

    async def _flush(self, transmit: Callable[[bytes], Awaitable[None]]) -> None:
        if left := self._chunker.flush():
            await self._send_chunk(left, transmit)

    async def _send_chunk(self, chunk: bytes, transmit: Callable[[bytes], Awaitable[None]]) -> None:
        await transmit(self._prefix + chunk)
        self.sent += len(chunk)
