"""The journal of a batch: what it has sent and got, on disk, so that it can be killed and started again."""

from wiro_async._api.journal.journal_entries import Entry, Spending
from wiro_async._api.journal.journal_reader import Journal, JournalItem
from wiro_async._api.journal.journal_schema import State
from wiro_async._api.journal.journal_writer import JournalWriter

__all__ = ["Entry", "Journal", "JournalItem", "JournalWriter", "Spending", "State"]
