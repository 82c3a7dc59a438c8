"""The structure of the package: its layers, its folders and its names. Imports of types count like all others."""

import ast
from collections import Counter
from collections.abc import Iterable
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

import wiro_async

ROOT = Path(wiro_async.__file__).parent
# From the ground up. Nothing imports what lies above it. The parts of one line do not import each other.
LAYERS = (
    ("_public", "_redaction", "_version"),
    ("_records",),
    ("_errors",),
    ("_tuning", "_types"),
    ("_protocol",),
    ("_transport",),
    ("_engine",),
    ("_api",),
    ("_session",),
    ("audio", "codegen", "testing", "webhooks"),
    ("_demo",),
    ("__main__",),
)
CORE = ("_errors", "_records", "_protocol", "_transport", "_engine", "_api")
MOST_FILES = 12
LIBRARIES = {
    "httpx": "wiro_async._transport.http.",
    "httpcore": "wiro_async._transport.http.",
    "websockets": "wiro_async._transport.websocket",
    "asyncpg": "wiro_async._transport.postgres.",
}


@cache
def graph() -> grimp.ImportGraph:
    """Every module and its imports, those under `if TYPE_CHECKING:` included."""
    return grimp.build_graph(
        "wiro_async", include_external_packages=True, exclude_type_checking_imports=False, cache_dir=None
    )


def own_imports() -> Iterable[tuple[str, str]]:
    """The imports between modules of the package."""
    for module in graph().modules:
        for imported in graph().find_modules_directly_imported_by(module):
            if module.startswith("wiro_async") and imported.startswith("wiro_async"):
                yield module, imported


def find_cycle(edges: Iterable[tuple[str, str]]) -> list[str]:
    """The nodes of a cycle; none if there is no cycle."""
    sorter = TopologicalSorter[str]()
    for source, target in edges:
        if source != target:
            sorter.add(source, target)
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def core_files() -> list[Path]:
    """The files of the core."""
    return [file for layer in CORE for file in sorted((ROOT / layer).rglob("*.py"))]


def test_a_cycle_is_found() -> None:
    """The check itself."""
    assert find_cycle([("a", "b"), ("b", "c"), ("a", "c"), ("a", "a")]) == []
    assert set(find_cycle([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])) == {"a", "b", "c"}


def test_every_module_has_a_layer() -> None:
    """A new part of the package must be placed."""
    parts = {module.split(".")[1] for module in graph().modules if module.startswith("wiro_async.")}
    assert parts == {part for layer in LAYERS for part in layer}


def test_layers_import_downward_only() -> None:
    """Nothing imports the facade, a layer above, or another part of the same layer."""
    rank = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    wrong = []
    for module, imported in own_imports():
        if module == "wiro_async":  # the facade names everything
            continue
        part, other = module.split(".")[1], f"{imported}.".split(".")[1]
        if not other or (part != other and rank[other] >= rank[part]):
            wrong.append(f"{module} -> {imported}")
    assert not wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even to name a type."""
    assert not find_cycle(own_imports())


def test_no_folders_import_each_other_in_a_circle() -> None:
    """In each folder, its files and its folders as wholes have an order."""
    for folder in {module.rpartition(".")[0] for module in graph().modules if module.startswith("wiro_async.")}:
        depth = folder.count(".") + 2
        inside = [
            (".".join(module.split(".")[:depth]), ".".join(imported.split(".")[:depth]))
            for module, imported in own_imports()
            if module.startswith(f"{folder}.") and imported.startswith(f"{folder}.")
        ]
        assert not find_cycle(inside), folder


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_in_one_place(library: str) -> None:
    """Only there can its behaviour change ours. The emulator is the other end of a connection."""
    importers = graph().find_modules_that_directly_import(library)
    inside = {module for module in importers if not module.startswith("wiro_async.testing")}
    assert inside
    assert all(module.startswith(LIBRARIES[library]) for module in inside)


def test_folders_are_small() -> None:
    """A reader sees all files of a folder at once."""
    counts = Counter(file.parent for file in core_files())
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_a_file_name_has_one_meaning() -> None:
    """A reader who knows the subject finds the file."""
    counts = Counter(file.name for file in core_files() if file.name != "__init__.py")
    assert [name for name, count in counts.items() if count > 1] == []


def test_a_class_name_has_one_meaning() -> None:
    """Private classes included."""
    counts = Counter(
        node.name
        for file in core_files()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in counts.items() if count > 1] == []
