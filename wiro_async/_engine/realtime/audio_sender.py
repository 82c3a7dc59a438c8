"""Audio on its way out: cut into frames, in the order of the calls, paced if wanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from wiro_async._protocol.conversations.realtime_audio import Chunker, Pacer, audio_prefix
from wiro_async._transport import clock


class AudioSender:
    """Sends audio of any sizes in frames of one size.

    Args:
        transmit: sends one frame; what it raises goes to the caller.
        check: raises if nothing can be sent.
        rest: sleeps; raises if nothing can be sent any more.

    Attributes:
        sent: bytes of audio that have left.
    """

    def __init__(
        self,
        token: str,
        transmit: Callable[[bytes], Awaitable[None]],
        check: Callable[[], None],
        rest: Callable[[float], Awaitable[None]],
    ) -> None:
        self._prefix = audio_prefix(token)
        self._transmit = transmit
        self._check = check
        self._rest = rest
        self._chunker, self._pacer, self._turn = Chunker(), Pacer(), anyio.Lock()
        self.sent = 0

    async def send(self, pcm: memoryview, pace: bool) -> None:
        """Send audio in full frames. Cancelling it may have sent a part; the rest is dropped."""
        async with self._turn:
            self._check()
            try:
                for chunk in self._chunker.feed(pcm):
                    if pace:
                        await self._rest(self._pacer.delay(clock.loop_time(), len(chunk)))
                    self._check()
                    await self._send(chunk, self._transmit)
            except BaseException:
                self._chunker.clear()
                raise

    async def flush(self) -> None:
        """Send what does not fill a frame."""
        async with self._turn:
            self._check()
            await self._flush(self._transmit)

    async def finish(self, transmit: Callable[[bytes], Awaitable[None]]) -> None:
        """The same, after what is being sent, also where nothing else can be sent any more."""
        async with self._turn:
            await self._flush(transmit)

    async def _flush(self, transmit: Callable[[bytes], Awaitable[None]]) -> None:
        if left := self._chunker.flush():
            await self._send(left, transmit)

    async def _send(self, chunk: bytes, transmit: Callable[[bytes], Awaitable[None]]) -> None:
        await transmit(self._prefix + chunk)
        self.sent += len(chunk)
