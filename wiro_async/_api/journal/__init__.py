"""The journal of a batch: what was sent and what came back, on disk, so that a killed batch can be resumed."""

from wiro_async._api.journal.journal_entries import Asked, Entry, Spending
from wiro_async._api.journal.journal_reader import Journal, JournalItem
from wiro_async._api.journal.journal_schema import State
from wiro_async._api.journal.journal_writer import JournalWriter

__all__ = ["Asked", "Entry", "Journal", "JournalItem", "JournalWriter", "Spending", "State"]
