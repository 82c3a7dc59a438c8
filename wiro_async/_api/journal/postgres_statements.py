"""The statements of a journal in PostgreSQL.

Each one is idempotent: it may be sent again after its commit was lost. `@` stands for the schema and the prefix of the
tables. The first parameter of statements that share a round trip is their number in it, which their row returns first;
the second one is the key.
"""

from __future__ import annotations

from typing import Final

ENDED: Final = "('succeeded', 'failed', 'cancelled', 'refused')"
COLUMNS: Final = """
    i.key, i.model, i.digest, i.input, i.fingerprint, i.shape, i.callback_url, i.state, i.attempts,
    coalesce(i.searched, i.position) AS position, i.intended_at, i.last_id_seen, i.owner, i.fence, i.turn, i.task_id,
    i.token, i.ended_at, i.cost, i.task, i.error, i.saved, i.candidates, i.number
"""
# Seconds for which an owner may send. A lease that has expired may still be renewed, as long as nobody has fenced its
# owner. While the server was down nobody could renew: so a lease lasts its full time from the start of the server.
LEFT: Final = """extract(epoch FROM greatest(
    o.lease_until, pg_postmaster_start_time() + make_interval(secs => {0})) - clock_timestamp())::float8"""
LEASE: Final = f"CASE WHEN o.fenced OR o.owner IS NULL THEN 0 ELSE {LEFT} END AS lease"
# Fences the owner of an item, if its lease has expired. It is read under the lock of the owner's row, so that a
# renewal that is being committed counts.
FENCE: Final = f"""
gone AS (
    UPDATE @_owners o SET fenced = true WHERE o.owner = (SELECT owner FROM @_items WHERE key = $2) AND o.owner <> $3
        AND (o.fenced OR {LEFT.format("$4")} <= 0)
    RETURNING o.owner
)"""
IS_LEFT: Final = """
(i.state = 'unknown' OR (i.state = 'undecided' AND (
    i.owner IN (SELECT owner FROM gone) OR NOT EXISTS (SELECT FROM @_owners o WHERE o.owner = i.owner))))"""
HAS_NO_TASK: Final = "i.task_id IS NULL AND i.token IS NULL"
# Makes the tasks of items known beyond them. `{0}` says which.
KEEP: Final = """
    INSERT INTO @_former SELECT task_id, fingerprint FROM {0} WHERE task_id IS NOT NULL ON CONFLICT DO NOTHING"""

READ: Final = f"""
SELECT {COLUMNS}, {LEASE.format("$2")} FROM @_items i LEFT JOIN @_owners o ON o.owner = i.owner WHERE i.key = ANY($1)
"""
READ_ONE: Final = f"""
SELECT $1::int, {COLUMNS}, {LEASE.format("$3")} FROM @_items i LEFT JOIN @_owners o ON o.owner = i.owner
WHERE i.key = $2
"""
INTEND: Final = f"""
WITH former AS ({KEEP.format("(SELECT * FROM @_items WHERE key = $2 AND fence = $3) AS earlier")})
INSERT INTO @_items AS i (key, fence, turn, owner, model, digest, input, fingerprint, shape, callback_url, intended_at,
    last_id_seen, state, attempts, position)
VALUES ($2, 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'undecided', 1, nextval('@_positions'))
ON CONFLICT (key) DO UPDATE SET
    fence = i.fence + 1, turn = excluded.turn, owner = excluded.owner, model = excluded.model,
    digest = excluded.digest, input = excluded.input, fingerprint = excluded.fingerprint, shape = excluded.shape,
    callback_url = excluded.callback_url, intended_at = excluded.intended_at, last_id_seen = excluded.last_id_seen,
    state = 'undecided', attempts = i.attempts + (NOT ({HAS_NO_TASK}))::int, position = excluded.position,
    searched = NULL, task_id = NULL, token = NULL, ended_at = NULL, cost = NULL, task = NULL, error = NULL,
    saved = NULL, candidates = NULL
WHERE (i.fence = $3 AND i.state = $14 AND i.state IN {ENDED}) OR i.turn = excluded.turn
RETURNING $1::int, {COLUMNS}
"""
# Undoes an intent whose caller has gone before it knew of it.
WITHDRAW: Final = f"""
UPDATE @_items i SET state = 'refused', ended_at = $4
WHERE i.key = $2 AND i.turn = $3 AND i.state = 'undecided' AND {HAS_NO_TASK}
RETURNING $1::int, pg_notify($5, $6)::text
"""
# The owner of an undecided item may have sent its run until it was fenced: only later runs are witnesses. An unknown
# item was given up by its owner, so its witnesses may have come since.
TAKE_OVER: Final = f"""
WITH {FENCE}
UPDATE @_items i SET state = 'undecided', owner = $3, fence = i.fence + 1, turn = $6,
    searched = CASE WHEN i.state = 'undecided' THEN nextval('@_positions') ELSE i.searched END
WHERE i.key = $2 AND (i.turn = $6 OR (i.fence = $5 AND {HAS_NO_TASK} AND {IS_LEFT}))
RETURNING $1::int, {COLUMNS}
"""
SUBMIT: Final = f"""
UPDATE @_items i SET state = 'submitted', task_id = $3, token = $4, candidates = NULL
WHERE i.key = $2 AND i.state IN ('undecided', 'unknown') AND {HAS_NO_TASK}
RETURNING $1::int, pg_notify($5, $6)::text
"""
END: Final = f"""
UPDATE @_items i SET state = $5, task_id = coalesce(i.task_id, $3), token = coalesce(i.token, $4), ended_at = $6,
    cost = $7, task = $8, error = $9, candidates = NULL
WHERE i.key = $2 AND CASE WHEN $5 = 'refused' THEN i.fence = $10 AND {HAS_NO_TASK}
    ELSE i.task_id = $3 OR (i.fence = $10 AND (i.task_id IS NULL OR $3::text IS NULL)) END
RETURNING $1::int, pg_notify($11, $12)::text
"""
REFUSE: Final = f"""
UPDATE @_items i SET state = 'refused', ended_at = $4, candidates = NULL
WHERE i.key = $2 AND i.fence = $3 AND i.state IN ('undecided', 'unknown', 'refused') AND {HAS_NO_TASK}
RETURNING $1::int, {COLUMNS}, pg_notify($5, $6)::text
"""
PARK: Final = f"""
UPDATE @_items i SET state = 'unknown', candidates = $4, error = $5
WHERE i.key = $2 AND i.fence = $3 AND i.state IN ('undecided', 'unknown') AND {HAS_NO_TASK}
RETURNING $1::int, pg_notify($6, $7)::text
"""
DECIDE: Final = f"""
WITH {FENCE}
UPDATE @_items i SET state = $5, task_id = $6, token = $7, fence = i.fence + 1, turn = $8, ended_at = $9,
    candidates = NULL
WHERE i.key = $2 AND (i.turn = $8 OR ({HAS_NO_TASK} AND {IS_LEFT}))
RETURNING $1::int, pg_notify($10, $11)::text
"""
LOOK_ALIKES: Final = """
SELECT 'task' AS kind, task_id AS value, '' AS digest FROM @_items WHERE fingerprint = $1 AND task_id IS NOT NULL
UNION ALL SELECT 'task', task_id, '' FROM @_former WHERE fingerprint = $1
UNION ALL SELECT 'rival', key, digest FROM @_items
    WHERE fingerprint = $1 AND state IN ('undecided', 'unknown') AND task_id IS NULL AND token IS NULL
"""
WITNESSES: Final = """
SELECT task_id, token, fingerprint, position FROM @_items
WHERE shape = $1 AND position > $2 AND task_id IS NOT NULL ORDER BY position LIMIT 100
"""
IDS_IN_ORDER: Final = """
SELECT last_id_seen, task_id FROM @_items
WHERE last_id_seen <> '0' AND task_id IS NOT NULL ORDER BY number DESC LIMIT 100
"""
PLANNED: Final = "SELECT $1::int, planned FROM @_items WHERE key = $2"
PLAN: Final = "UPDATE @_items SET planned = $3 WHERE key = $2 RETURNING $1::int"
SAVE: Final = "UPDATE @_items SET saved = $3 WHERE key = $2 RETURNING $1::int"
LARGEST_ID: Final = """
(SELECT task_id FROM @_items WHERE task_id IS NOT NULL ORDER BY length(task_id) DESC, task_id COLLATE "C" DESC LIMIT 1)
UNION ALL
(SELECT task_id FROM @_former ORDER BY length(task_id) DESC, task_id COLLATE "C" DESC LIMIT 1)
"""
PAGE: Final = f"""
SELECT {COLUMNS}, {LEASE.format("$4")} FROM @_items i LEFT JOIN @_owners o ON o.owner = i.owner
WHERE i.number > $1 AND ($2::text IS NULL OR i.state = $2) ORDER BY i.number LIMIT $3
"""
COUNTS: Final = "SELECT state, count(*) FROM @_items GROUP BY state"
SPENDINGS: Final = """
SELECT model, sum(cost::numeric)::text, count(*) FROM @_items WHERE state = 'succeeded' AND cost IS NOT NULL
GROUP BY model
"""
FORGET: Final = f"""
WITH removed AS (DELETE FROM @_items WHERE key = $2 AND state IN {ENDED} RETURNING task_id, fingerprint),
former AS ({KEEP.format("removed")})
SELECT $1::int FROM removed
"""
PRUNE: Final = f"""
WITH removed AS (
    DELETE FROM @_items WHERE key IN (
        SELECT key FROM @_items WHERE state IN {ENDED} AND ended_at < $1 ORDER BY key LIMIT $2 FOR UPDATE
    ) AND state IN {ENDED} RETURNING task_id, fingerprint
), former AS ({KEEP.format("removed")})
SELECT count(*) FROM removed
"""
