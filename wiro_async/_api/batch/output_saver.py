"""Saves the outputs of a batch's items as they end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import attrs

from wiro_async._api.journal.journal_store import JournalStore
from wiro_async._api.results.batch_items import BatchItem
from wiro_async._api.results.output import Output
from wiro_async._protocol.files.filenames import numbered, safe_name, split_name
from wiro_async._protocol.journal.record import Record
from wiro_async._transport import threads
from wiro_async._transport.files.media_types import suffix_of_type


@attrs.frozen
class OutputSaver:
    """Downloads outputs into one directory.

    Existing files are kept, apart from those that the journal knows as the item's own. Outputs that are saved already
    are not downloaded again.
    """

    directory: Path
    store: JournalStore | None

    async def save(self, item: BatchItem, record: Record | None) -> BatchItem:
        """Save an item's outputs. Return it with their paths, or with the error. Cancelling leaves no half file."""
        if item.result is None:
            return item
        outputs = item.result.outputs
        try:
            if record is None or self.store is None:
                paths = await _save_all(outputs, self._targets(item.key, outputs), ())
                return attrs.evolve(item, saved=tuple(paths))
            saved = tuple(map(Path, record.saved))
            if saved and all([await threads.run(path.is_file) for path in saved]):
                return attrs.evolve(item, saved=saved)
            # The paths are planned in the journal first: killed in between, the next start knows them as its own.
            own = {*saved, *await self.store.planned(record.key)}
            targets = await threads.run(free_names, self._targets(item.key, outputs), own)
            await self.store.plan(record.key, targets)
            paths = await _save_all(outputs, targets, own)
            self.store.save(record.key, paths)
        except Exception as error:
            return attrs.evolve(item, save_error=error)
        return attrs.evolve(item, saved=tuple(paths))

    def _targets(self, key: str, outputs: Sequence[Output]) -> list[Path]:
        stem = file_stem(key)
        return [self.directory / f"{stem}-{number}{suffix_of(output)}" for number, output in enumerate(outputs, 1)]


async def _save_all(outputs: Sequence[Output], targets: Sequence[Path], own: Collection[Path]) -> list[Path]:
    return [await output.save(target, overwrite=target in own) for output, target in zip(outputs, targets, strict=True)]


def free_names(targets: Iterable[Path], own: Collection[Path]) -> list[Path]:
    """Return the paths, numbered where another file has the name."""
    free: list[Path] = []
    for target in targets:
        number, path = 2, target
        while path not in own and os.path.lexists(path):
            path = target.with_name(numbered(target.name, number))
            number += 1
        free.append(path)
    return free


def file_stem(key: str) -> str:
    """Return what an item's file names begin with: different for different keys, safe on every system."""
    safe = safe_name(key, "item")
    if safe == key:
        return key
    return f"{safe}~{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def suffix_of(output: Output) -> str:
    """Return the suffix of an output's name, else that of its content type. Text has neither."""
    return (
        split_name(safe_name(output.name))[1] or suffix_of_type(output.content_type) or ("" if output.url else ".txt")
    )
