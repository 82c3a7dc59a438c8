"""The statements of a journal in PostgreSQL. Each one is idempotent: it may be sent again after its commit was lost.

`@` stands for the schema and the prefix of the tables. The first parameter of statements that share a round trip is
their number in it, which their row returns first.
"""

from __future__ import annotations

from typing import Final

COLUMNS: Final = """
    i.key, i.model, i.digest, i.input, i.fingerprint, i.shape, i.callback_url, i.state, i.attempts, i.position,
    i.intended_at, i.last_id_seen, i.owner, i.fence, i.turn, i.task_id, i.token, i.ended_at, i.cost, i.task, i.error,
    i.saved, i.candidates
"""
# A lease that has expired may still be renewed, as long as nobody has fenced its owner. While the server was down
# nobody could renew: so a lease lasts at least its full time from the start of the server.
REMAINING: Final = """extract(epoch FROM greatest(o.lease_until, pg_postmaster_start_time() + make_interval(secs => {0}))
    - clock_timestamp())::float8"""
NOTIFY: Final = "pg_notify({0}, left(md5(i.key), 16))"

READ: Final = f"""
SELECT {COLUMNS}, CASE WHEN o.fenced THEN 0 ELSE {REMAINING.format("$2")} END AS remaining
FROM @_items i LEFT JOIN @_owners o ON o.owner = i.owner WHERE i.key = ANY($1)
"""
INTEND: Final = f"""
WITH former AS (
    INSERT INTO @_former SELECT task_id, fingerprint FROM @_items
    WHERE key = $2 AND fence = $3 AND task_id IS NOT NULL ON CONFLICT DO NOTHING
)
INSERT INTO @_items AS i (key, fence, turn, owner, model, digest, input, fingerprint, shape, callback_url, intended_at,
    last_id_seen, state, attempts, position)
VALUES ($2, 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'undecided', 1, nextval('@_positions'))
ON CONFLICT (key) DO UPDATE SET
    fence = i.fence + 1, turn = excluded.turn, owner = excluded.owner, model = excluded.model,
    digest = excluded.digest, input = excluded.input, fingerprint = excluded.fingerprint, shape = excluded.shape,
    callback_url = excluded.callback_url, intended_at = excluded.intended_at, last_id_seen = excluded.last_id_seen,
    state = 'undecided', attempts = i.attempts + (i.task_id IS NOT NULL)::int, position = excluded.position,
    task_id = NULL, token = NULL, ended_at = NULL, cost = NULL, task = NULL, error = NULL, saved = NULL,
    candidates = NULL
WHERE (i.fence = $3 AND i.state IN ('failed', 'cancelled', 'refused', 'succeeded')) OR i.turn = excluded.turn
RETURNING $1::int, {COLUMNS}
"""
WITHDRAW: Final = """
UPDATE @_items i SET state = 'refused' WHERE key = $2 AND turn = $3 AND state = 'undecided' RETURNING $1::int
"""
SUBMIT: Final = f"""
UPDATE @_items i SET state = 'submitted', task_id = $3, token = $4, candidates = NULL
WHERE key = $2 AND state IN ('undecided', 'unknown') AND task_id IS NULL
RETURNING $1::int, {NOTIFY.format("$5")}::text
"""
END: Final = f"""
UPDATE @_items i SET state = $4, ended_at = $5, cost = $6, task = $7, error = $8, candidates = NULL
WHERE key = $2 AND task_id IS NOT DISTINCT FROM $3 AND (task_id IS NOT NULL OR fence = $9)
RETURNING $1::int, {NOTIFY.format("$10")}::text
"""
PARK: Final = f"""
UPDATE @_items i SET state = 'unknown', candidates = $4, error = $5
WHERE key = $2 AND fence = $3 AND state IN ('undecided', 'unknown') AND task_id IS NULL
RETURNING $1::int, {NOTIFY.format("$6")}::text
"""
# The lease is read under the lock of the owner's row: a renewal that is being committed counts.
TAKE_OVER: Final = f"""
WITH gone AS (
    UPDATE @_owners o SET fenced = true
    WHERE owner = (SELECT owner FROM @_items WHERE key = $2) AND owner <> $4 AND (fenced OR {REMAINING.format("$6")} < 0)
    RETURNING owner
)
UPDATE @_items i SET owner = $4, fence = fence + 1, turn = $5, position = nextval('@_positions')
WHERE key = $2 AND (turn = $5 OR (fence = $3 AND task_id IS NULL AND (
    (state = 'undecided' AND owner IN (SELECT owner FROM gone))
    OR (state IN ('undecided', 'unknown') AND NOT EXISTS (SELECT FROM @_owners o WHERE o.owner = i.owner))
    OR (state = 'unknown')
)))
RETURNING $1::int, {COLUMNS}
"""
ENROL: Final = """
INSERT INTO @_owners VALUES ($1, clock_timestamp() + make_interval(secs => $2), 0, false) ON CONFLICT DO NOTHING
"""
RENEW: Final = """
UPDATE @_owners SET lease_until = clock_timestamp() + make_interval(secs => $2), renewals = renewals + 1
WHERE owner = $1 RETURNING fenced, renewals
"""
RETIRE: Final = "DELETE FROM @_owners WHERE owner = $1"
FORGET_OWNERS: Final = "DELETE FROM @_owners WHERE lease_until < clock_timestamp() - interval '7 days'"
CLAIMED: Final = """
SELECT task_id FROM @_items WHERE fingerprint = $1 AND task_id IS NOT NULL
UNION SELECT task_id FROM @_former WHERE fingerprint = $1
"""
RIVALS: Final = "SELECT key FROM @_items WHERE fingerprint = $1 AND state IN ('undecided', 'unknown')"
WITNESSES: Final = """
SELECT task_id, token, fingerprint FROM @_items
WHERE shape = $1 AND position > $2 AND task_id IS NOT NULL ORDER BY position LIMIT 100
"""
PLANNED: Final = "SELECT $1::int, planned FROM @_items i WHERE key = $2"
PLAN: Final = "UPDATE @_items SET planned = $3 WHERE key = $2 RETURNING $1::int"
SAVE: Final = "UPDATE @_items SET saved = $3 WHERE key = $2 RETURNING $1::int"
PAGE: Final = f"""
SELECT {COLUMNS}, 0::float8 AS remaining FROM @_items i
WHERE key > $1 AND ($2::text IS NULL OR state = $2) ORDER BY key LIMIT $3
"""
COUNTS: Final = "SELECT state, count(*) FROM @_items GROUP BY state"
