"""What became of the calls to a receiver."""

from __future__ import annotations

import attrs


@attrs.define
class WebhookStatistics:
    """What became of the calls so far.

    Attributes:
        received: all of them.
        confirmed: tasks that Task/Detail said were over; told to whoever waited.
        duplicates: calls about tasks that had been confirmed, or were just being asked about.
        forged: addresses that are not signed by this receiver's secrets, or belong to another task.
        expired: addresses that were signed too long ago.
        refused: calls that are no POST, too large or too slow.
        unreadable: calls that name no task.
        unconfirmed: tasks that Task/Detail does not know, or does not see as over, or could not be asked about.
        dropped: calls that came while too many others were being confirmed; slow polling finds what they meant.
        pending: how many are being confirmed at this moment.
    """

    received: int = 0
    confirmed: int = 0
    duplicates: int = 0
    forged: int = 0
    expired: int = 0
    refused: int = 0
    unreadable: int = 0
    unconfirmed: int = 0
    dropped: int = 0
    pending: int = 0
