"""Saves the outputs of a batch's items as they end."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from wiro_async._api.batch.batch_items import BatchItem
from wiro_async._api.journal import Entry, JournalWriter
from wiro_async._api.results.output import Output
from wiro_async._protocol.files.filenames import numbered, safe_name, split_name

DOWNLOADS = 16  # items being saved at a time, however many run


@attrs.frozen
class Saver:
    """Downloads into one directory, over no file but those that the journal knows as the item's own.

    What it knows to be saved is left alone.
    """

    directory: Path
    journal: JournalWriter | None

    async def save(self, item: BatchItem, entry: Entry | None) -> BatchItem:
        """The item, with where its outputs lie or why they could not be saved. Cancelling leaves no half file."""
        if item.result is None:
            return item
        if entry is not None and entry.saved and await _all_there(entry.saved):
            return attrs.evolve(item, saved=entry.saved)
        try:
            if entry is not None and self.journal is not None:
                paths = await self._save_noted(self.journal, entry, item.result.outputs)
            else:
                paths = await _save_all(item.result.outputs, self._targets(item.key, item.result.outputs), ())
        except Exception as error:
            return attrs.evolve(item, save_error=error)
        return attrs.evolve(item, saved=tuple(paths))

    async def _save_noted(self, journal: JournalWriter, entry: Entry, outputs: Sequence[Output]) -> list[Path]:
        own = {*entry.saved, *await journal.planned(entry)}
        targets = await anyio.to_thread.run_sync(_free, self._targets(entry.key, outputs), own)
        await journal.plan(entry, targets)
        paths = await _save_all(outputs, targets, own)
        journal.save(entry, paths)
        return paths

    def _targets(self, key: str, outputs: Sequence[Output]) -> list[Path]:
        stem = file_stem(key)
        return [self.directory / f"{stem}-{number}{_suffix(output)}" for number, output in enumerate(outputs, 1)]


async def _save_all(outputs: Sequence[Output], targets: Sequence[Path], own: Collection[Path]) -> list[Path]:
    return [await output.save(target, overwrite=target in own) for output, target in zip(outputs, targets, strict=True)]


def _free(targets: Iterable[Path], own: Collection[Path]) -> list[Path]:
    """The same names, numbered where somebody else's file has one."""
    free: list[Path] = []
    for target in targets:
        number, path = 2, target
        while path not in own and os.path.lexists(path):
            path = target.with_name(numbered(target.name, number))
            number += 1
        free.append(path)
    return free


def file_stem(key: str) -> str:
    """What the names of an item's files begin with: different for different keys, safe on every system."""
    safe = safe_name(key, "item")
    if safe == key:
        return key
    return f"{safe}~{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _suffix(output: Output) -> str:
    kind = output.content_type.partition(";")[0]
    return split_name(safe_name(output.name))[1] or mimetypes.guess_extension(kind) or ("" if output.url else ".txt")


async def _all_there(paths: Sequence[Path]) -> bool:
    return all([await anyio.Path(path).is_file() for path in paths])
