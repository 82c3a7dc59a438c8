"""Remembers which addresses accepted a connection and then said nothing.

Such an address wins the race of a host's addresses every time: a machine that is stuck, or a firewall that accepts in
the place of a host that is down. Each retry would run into it again. So it is tried last for a while. That is about the
network of this machine, so all sessions share one memory. It changes the order of the addresses and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

AddressInfo: TypeAlias = tuple[Any, ...]  # what getaddrinfo gives: family, kind, protocol, name, address

SILENCE: Final = 1.0  # seconds without a byte after the last one that was sent to it
REMEMBERED: Final = 300.0  # seconds


class SilentAddresses:
    """The addresses that were silent lately. Addresses are those of sockets: host, port, and more for IPv6."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silent_at: dict[tuple[Any, ...], float] = {}

    def add(self, address: Sequence[Any] | None) -> None:
        """Try an address last from now on; None is the address of a socket that is closed already."""
        if address:
            oldest = self._clock() - REMEMBERED
            recent = {known: at for known, at in self._silent_at.items() if at > oldest}
            self._silent_at = {**recent, tuple(address[:2]): self._clock()}

    def discard(self, address: Sequence[Any] | None) -> None:
        """Forget an address: it has said something."""
        if address and self._silent_at:
            self._silent_at.pop(tuple(address[:2]), None)

    def put_last(self, infos: Sequence[AddressInfo]) -> list[AddressInfo]:
        """Put the silent ones last, those that were silent most recently at the very end."""
        oldest = self._clock() - REMEMBERED

        def silent_at(info: AddressInfo) -> float:
            at = self._silent_at.get(tuple(info[4][:2]), oldest)
            return max(at, oldest)

        return sorted(infos, key=silent_at)


silent_addresses: Final = SilentAddresses()
