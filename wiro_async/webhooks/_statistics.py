"""Statistics of a receiver."""

from __future__ import annotations

import attrs


@attrs.define
class WebhookStatistics:
    """What happened to the callbacks so far.

    Attributes:
        received: all callbacks.
        confirmed: tasks that are over according to Task/Detail; the waits for them have ended.
        duplicates: callbacks about tasks that were confirmed already or are being confirmed.
        forged: callbacks to URLs that this receiver did not sign, or that belong to another task, or that have named
            several tasks falsely before.
        expired: callbacks to URLs that have expired.
        refused: requests that are no POST, too large or too slow.
        unreadable: callbacks that name no task.
        unconfirmed: tasks that Task/Detail does not know or does not show as over, or for which the read failed.
        unexpected: tasks that the session neither made nor waits for. They are read once somebody waits for them, or
            at once if there is an `on_end`.
        dropped: callbacks that were refused with 503, as too many tasks that nobody waits for were to be confirmed.
        pending: tasks that are being confirmed, or wait for their turn.
    """

    received: int = 0
    confirmed: int = 0
    duplicates: int = 0
    forged: int = 0
    expired: int = 0
    refused: int = 0
    unreadable: int = 0
    unconfirmed: int = 0
    unexpected: int = 0
    dropped: int = 0
    pending: int = 0
