"""Addresses that were silent come last, and are forgotten in time."""

from __future__ import annotations

import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wiro_async._transport.network.silent_addresses import REMEMBERED, SilentAddresses

Info = tuple[Any, ...]


def info(number: int) -> Info:
    """What the system's resolver gives for an address; odd ones are IPv6."""
    if number % 2:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"fd00::{number}", 443, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"10.0.0.{number}", 443))


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.integers(0, 6)), st.permutations(range(7)))
def test_the_latest_comes_last(silent: list[int], given_order: list[int]) -> None:
    """Those that were not silent keep their order, and none is lost or added."""
    clock = Clock()
    addresses = SilentAddresses(clock)
    for number in silent:
        clock.now += 1
        addresses.add(info(number)[4])
    latest = sorted(set(silent), key=lambda number: len(silent) - silent[::-1].index(number))
    others = [number for number in given_order if number not in latest]
    assert addresses.put_last([*map(info, given_order)]) == [*map(info, [*others, *latest])]


def test_it_is_forgotten() -> None:
    """After some minutes, or when it says something. Addresses of sockets that are closed are none."""
    clock = Clock()
    addresses = SilentAddresses(clock)
    both = [info(0), info(1)]
    addresses.add(both[0][4])
    addresses.add(None)
    addresses.discard(None)
    assert addresses.put_last(both) == both[::-1]
    addresses.discard(both[0][4])
    assert addresses.put_last(both) == both
    addresses.add(both[0][4])
    clock.now += REMEMBERED - 1
    assert addresses.put_last(both) == both[::-1]
    clock.now += 1
    assert addresses.put_last(both) == both
