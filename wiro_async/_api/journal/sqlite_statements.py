"""The statements of a journal in SQLite."""

from __future__ import annotations

from typing import Final

COLUMNS: Final = """
    key, digest, model, input, state, attempts, fingerprint, callback_url, intended_at, task_id, token,
    ended_at, cost, record, error, saved, shape, position, last_id_seen, owner, fence, candidates
"""
ROW: Final = f"{COLUMNS}, checksum"
NEXT: Final = "(SELECT coalesce(max(position), 0) + 1 FROM items)"
READ: Final = f"SELECT {ROW} FROM items WHERE key = ?"
PAGE: Final = f"SELECT rowid, {ROW} FROM items WHERE rowid > ? AND (? IS NULL OR state = ?) ORDER BY rowid LIMIT ?"
# Files of schema 1 have none of the later columns. They are read as they are, and upgraded by who writes them.
OLD_PAGE: Final = """
SELECT rowid, key, digest, model, input, state, attempts, fingerprint, callback_url, intended_at, task_id, token,
    ended_at, cost, record, error, saved, x'', rowid, NULL, '', 1, NULL, NULL
FROM items WHERE rowid > ? AND (? IS NULL OR state = ?) ORDER BY rowid LIMIT ?
"""
INSERT: Final = f"""
INSERT INTO items (key, digest, model, input, fingerprint, callback_url, intended_at, shape, last_id_seen, owner,
    state, attempts, position, fence)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'undecided', 1, {NEXT}, 1)
"""
INTEND: Final = f"""
UPDATE items SET key = ?, digest = ?, model = ?, input = ?, fingerprint = ?, callback_url = ?, intended_at = ?,
    shape = ?, last_id_seen = ?, owner = ?, state = 'undecided', attempts = attempts + (task_id IS NOT NULL),
    position = {NEXT}, fence = fence + 1, task_id = NULL, token = NULL, ended_at = NULL, cost = NULL, record = NULL,
    error = NULL, saved = NULL, candidates = NULL
WHERE key = ?
"""
REMEMBER: Final = "INSERT INTO former SELECT fingerprint, task_id FROM items WHERE key = ? AND task_id IS NOT NULL"
ENDED: Final = "state IN ('succeeded', 'failed', 'cancelled', 'refused')"
REMEMBER_ENDED: Final = f"{REMEMBER} AND {ENDED}"
REMEMBER_OLD: Final = f"""
INSERT INTO former SELECT fingerprint, task_id FROM items WHERE {ENDED} AND ended_at < ? AND task_id IS NOT NULL
"""
FORGET: Final = f"DELETE FROM items WHERE key = ? AND {ENDED}"
PRUNE: Final = f"DELETE FROM items WHERE {ENDED} AND ended_at < ?"
# An undecided record of this very opening may be on its way.
TAKE_OVER: Final = """
UPDATE items SET owner = ?, fence = fence + 1, state = 'undecided'
WHERE key = ? AND fence = ? AND task_id IS NULL AND (state = 'unknown' OR (state = 'undecided' AND owner <> ?))
"""
SUBMIT: Final = """
UPDATE items SET state = 'submitted', task_id = ?, token = ?, candidates = NULL, error = NULL
WHERE key = ? AND state IN ('undecided', 'unknown') AND task_id IS NULL
"""
IDS: Final = "SELECT task_id, token FROM items WHERE key = ?"
END: Final = """
UPDATE items SET state = ?, ended_at = ?, cost = ?, record = ?, error = ?
WHERE key = ? AND state = 'submitted' AND task_id IS ? AND token IS ?
"""
REFUSE_END: Final = """
UPDATE items SET state = ?, ended_at = ?, cost = ?, record = ?, error = ?
WHERE key = ? AND ? = 'refused' AND fence = ? AND state = 'undecided' AND task_id IS NULL
"""
REFUSE: Final = """
UPDATE items SET state = 'refused', ended_at = ?, candidates = NULL
WHERE key = ? AND fence = ? AND state IN ('undecided', 'unknown') AND task_id IS NULL
"""
PARK: Final = """
UPDATE items SET state = 'unknown', candidates = ?, error = ?
WHERE key = ? AND fence = ? AND state = 'undecided' AND task_id IS NULL
"""
DECIDE: Final = """
UPDATE items SET state = ?, task_id = ?, token = ?, fence = fence + 1, candidates = NULL, error = NULL
WHERE key = ? AND (state = 'unknown' OR (state = 'undecided' AND owner <> ?))
"""
CLAIMED: Final = """
SELECT task_id FROM items WHERE fingerprint = ? AND task_id IS NOT NULL
UNION SELECT task_id FROM former WHERE fingerprint = ?
"""
RIVALS: Final = "SELECT key, digest FROM items WHERE fingerprint = ? AND state IN ('undecided', 'unknown')"
WITNESSES: Final = """
SELECT task_id, token, fingerprint, position FROM items
WHERE shape = ? AND position > ? AND task_id IS NOT NULL ORDER BY position LIMIT 100
"""
IDS_IN_ORDER: Final = """
SELECT last_id_seen, task_id FROM items WHERE last_id_seen > 0 AND task_id IS NOT NULL ORDER BY position DESC LIMIT 100
"""
PLANNED: Final = "SELECT paths FROM planned WHERE key = ?"
PLAN: Final = "INSERT OR REPLACE INTO planned VALUES (?, ?)"
SAVE: Final = "UPDATE items SET saved = ? WHERE key = ?"
LARGEST_ID: Final = """
SELECT max(CAST(task_id AS INTEGER)), coalesce(sum(task_id GLOB '*[^0-9]*' OR length(task_id) > 18), 0)
FROM (SELECT task_id FROM items UNION ALL SELECT task_id FROM former) WHERE task_id IS NOT NULL
"""
COUNTS: Final = "SELECT state, count(*) FROM items GROUP BY state"
SPENDINGS: Final = """
SELECT model, cost, count(*) FROM items WHERE cost IS NOT NULL AND state = 'succeeded' GROUP BY model, cost
"""
KEEP_FIRST: Final = "INSERT INTO facts VALUES ('first', ?) ON CONFLICT (name) DO NOTHING"
FIRST: Final = "SELECT value FROM facts WHERE name = 'first'"
