"""Every constant that shapes how a session behaves, in one record.

The defaults are what production needs. Tests pass another record to make time run faster or queues fill sooner, so
nothing has to patch a module.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from wiro_async._public import public


@public
@attrs.frozen(kw_only=True)
class Tuning:
    """Timing, sizes and limits of a session. Times are in seconds, sizes in bytes."""

    random: Callable[[], float] = random.random  # from 0 to 1: the jitter of every backoff

    # Submitting a run, and finding the task of a run whose response was lost
    max_submissions: int = 60  # requests in flight; fewer than the connections, so that none waits for one
    submit_answer_wait: float = 4.0  # for the response to a run that its caller has given up; then search for the task
    submit_search_wait: float = 1.0  # the caller waits this long for the search; then it goes on in the background
    search_grace: float = 5.0  # where the service responded at all, its list shows the task by then
    search_pause: float = 0.5  # between two reads of the list; doubles
    search_max_pause: float = 5.0
    search_page: int = 100
    search_max_pages: int = 100
    search_head: int = 20  # of the newest tasks, to know the largest id
    search_max_details: int = 50  # listed tasks with missing fields that are read one by one
    clock_skew: float = 2.0  # the service's times are whole seconds
    max_known_tasks: int = 20_000  # ids of ended tasks that the session remembers
    max_idle_slots: int = 1000  # slots kept for tasks that nobody follows while no limit is known

    # How many tasks may run at once
    window_opening: float = 4.0  # unanswered runs while no limit is known; half as many more for each response
    window_opening_wait: float = 1.0  # or after this long without one
    window_yield: float = 0.2  # part of its share that a session gives up when one more is refused
    window_slowdown: float = 0.75  # what is left of the window after HTTP 429
    window_min_growth: float = 2.0  # one more is tried after this many ends,
    window_growth: float = 1.2  # and this many for each slot
    window_sharpen: float = 4.0  # that number is divided by this when the attempt was accepted
    window_other_probe: float = 1.0  # between attempts while none of our own tasks runs
    window_other_probe_max: float = 3.0
    window_own_probe: float = 8.0  # the same while one runs but none has ended for this long
    window_own_probe_max: float = 30.0
    window_recheck: float = 5.0  # the first waiter checks again whether tasks that nobody follows have ended
    window_ceiling: float = 60.0  # a limit that the service named is kept this long

    # Stopping tasks
    stop_wait: float = 5.0  # the caller waits this long; then stopping goes on in the background
    stop_request: float = 1.5  # for one request, so that a second one is still in time
    stop_pause: float = 0.25
    stop_max_pause: float = 5.0
    stop_give_up: float = 600.0

    # Polling
    poll_first: float = 0.5  # a new task that is silent may be over before its registration arrived
    poll_silence: float = 2.0  # a silent task is polled after this; doubles
    poll_max_silence: float = 30.0
    poll_share: float = 0.1  # without a socket: poll again after this share of the time waited so far,
    poll_min: float = 0.5  # within these bounds
    poll_max: float = 30.0
    poll_confirm: float = 0.5  # between two reads after a report of the end
    poll_confirmations: int = 10  # reads after a report before the usual pace returns
    poll_confirmations_doubted: int = 3  # the same after a false report
    poll_jitter: float = 0.2
    poll_last_look: float = 1.0  # a timeout waits this long for the state of a task that was never read
    refusals: int = 3  # refusals in a row, for refusal_grace, end the wait for a task of which nothing is known
    refusal_grace: float = 5.0
    refusals_known: int = 6  # the same for a task that certainly exists
    refusal_grace_known: float = 30.0  # also for a task that is unknown and not listed
    failing_grace: float = 600.0  # only failed reads, or a certain task that is not listed, for this long
    failing_warning: float = 60.0  # reads that have failed for this long are a warning
    callback_polls: int = 4  # a task with a callback is polled as if it had been polled this often: every half minute

    # The socket
    socket_open: float = 10.0
    socket_send: float = 20.0
    socket_close: float = 0.5  # for the closing handshake
    socket_ping: float = 20.0
    socket_reopen: float = 0.25  # between two openings of a socket that brings news, however soon it is closed
    socket_backoff: float = 0.1  # after a socket that brought none; doubles
    socket_max_backoff: float = 30.0
    socket_idle: float = 30.0  # a socket that carries no task is closed after this
    socket_steady: float = 5.0  # a socket that lived this long resets the backoff, and is not taken to flap
    socket_flaps: int = 2  # early closes in a row before the tasks of a socket are divided
    socket_parts: int = 8  # into so many, if the first division into two shows that one task is the reason
    socket_seen: int = 256  # messages that are remembered, to tell news from repetitions
    socket_max_registrations: int = 10_000  # the service cannot unregister a task, so a socket is replaced after these
    unheard_tasks: int = 2  # tasks that moved unheard while others were heard, before sockets are no longer shared
    unshared_seconds: float = 600.0  # sockets are not shared for this long; then sharing is tried again
    max_unread_events: int = 10_000

    # Realtime sessions
    realtime_connects: int = 3
    realtime_connect_pause: float = 0.2
    realtime_end: float = 4.0  # a session that is asked to end has this long before its task is stopped
    realtime_leave: float = 5.0  # leaving a session takes this long at most; then it ends in the background
    realtime_lost: float = 5.0  # the service notices within this that the socket is gone
    realtime_last_words: float = 1.0  # after the end, frames may still arrive with gaps of up to this
    realtime_drain: float = 10.0  # and for this long at most
    realtime_relief: float = 0.25  # a blocked sender may wait for a service that waits for our reader
    realtime_pulse: float = 20.0  # between two pings, and for the reply
    realtime_unread: int = 1024 * 1024  # unread bytes at which the socket is no longer read: 22 s of audio
    realtime_unread_relieved: int = 64 * 1024 * 1024  # the same while a sender is blocked: 23 min

    # Downloads
    download_lag: float = 180.0  # a URL may answer 404 for this long after the task's end
    download_failures: int = 8  # broken transfers in a row without progress
    download_pause: float = 0.25  # before the first retry; doubles
    download_max_pause: float = 10.0
    download_step_bytes: int = 64 * 1024  # this many more bytes are progress,
    download_step_share: float = 0.02  # or this share of the file
    download_redirects: int = 5

    # HTTP
    http_calls: int = 80
    http_downloads: int = 20
    http_connect: float = 10.0
    max_answer: int = 64 * 1024 * 1024  # of the API, after decompression
    max_threadless: int = 1024 * 1024  # answers that are larger are decoded in a thread
    http_keep_alive: float = 4.0  # many servers close idle connections after 5 s: a run must not meet that

    # Lists and uploads
    page_size: int = 100
    model_page_size: int = 100
    max_upload: int = 100 * 1024 * 1024  # one file, of a run or of files.upload
    max_candidates: int = 500  # models of an owner that are searched for another spelling
    schema_max_age: float = 3600.0  # a schema that is older is read again before it refuses an input
    schema_wait: float = 5.0  # for the schema that explains why the service refused an input

    # Conversations
    tool_end: float = 1.0  # a tool that is cancelled has this long to end

    # Callbacks
    callback_confirm: float = 0.5  # between two reads after a callback
    callback_confirmations: int = 10
    callback_body: float = 10.0  # for the body of a callback to arrive
    callback_max_pending: int = 1000  # tasks of this session that are being confirmed; more wait for their turn
    callback_max_foreign: int = 4  # the same for tasks that nobody waits for here
    callback_max_queued: int = 20_000  # of those wait for their turn; further callbacks get 503
    callback_max_wrong: int = 8  # tasks that one URL may name falsely; then only its own task is believed
    callback_unlisted: int = 3  # reads that may not find a task that nobody waits for
    callback_max_done: int = 10_000  # callbacks that are remembered, so that a repeated one is cheap

    # Batches
    progress_interval: float = 0.1  # between two updates of the live display
    progress_line_interval: float = 5.0  # between two lines where there is no terminal
    progress_last: float = 2.0  # for the final state to be shown
    batch_workers: int = 256  # for concurrency="auto": items that stand ready for the session's limiter
    batch_window: int = 4  # in input order, finished items per worker that may wait for a slow one before them
    batch_downloads: int = 16  # items whose outputs are being saved
    journal_busy: float = 30.0  # another program may hold the lock of the journal this long
    journal_grace: float = 10.0  # a run whose task is not listed by then, and proven to be missing, was never made
    journal_head_age: float = 30.0  # the largest known id is asked for again before a run if it is older than this
    journal_head_wait: float = 5.0  # for the list that shows it
    # A journal in PostgreSQL
    journal_connect: float = 10.0
    journal_statement: float = 10.0
    journal_lease: float = 15.0  # others wait this long for the runs of a session that is gone; half of it is relied on
    journal_pulse: float = 2.5  # between two renewals of the lease
    journal_pause: float = 0.1  # before the second attempt to connect; doubles
    journal_max_pause: float = 2.0
    journal_away: float = 30.0  # a run waits this long for a database that is away
    journal_task_wait: float = 2.0  # the id of a task waits this long for it; then the task is followed all the same
    journal_poll: float = 2.0  # between two reads of an entry whose change was not announced
    journal_close: float = 5.0  # for what is still to be written at the end
    journal_batch: int = 200  # entries in one round trip
