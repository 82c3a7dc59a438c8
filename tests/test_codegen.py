"""Typed modules for models: they import, match the schema, and two type checkers accept them."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from tokenize import COMMENT, generate_tokens
from types import ModuleType
from typing import Any, get_type_hints

import pytest

import wiro_async
from wiro_async import AsyncWiro, File, Model, codegen
from wiro_async._protocol.models.model import parse_model
from wiro_async.testing import STANDARD, WiroEmulator

HERE = Path(wiro_async.__file__).parent.parent
CACHE = Path(__file__).parents[1] / ".mypy_cache"


def item(name: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    """Return a parameter."""
    return {"id": name, "type": kind, **more}


def model(*items: dict[str, Any], slug: str = "me/model", **more: Any) -> Model:
    """Return a model with parameters."""
    owner, _, project = slug.partition("/")
    return parse_model({"slugowner": owner, "slugproject": project, "parameters": list(items), **more})


HOSTILE = model(
    item("class", "number", label="Ends with a backslash \\", note='"""quotes""" and \\N{NULL}', required=True),
    item("ключ", "select", options=["'", '"', "a', 'b", "line\nbreak", "\\", "\ud800", "é"]),
    item("with space", "text", label="One\nline\u2028\x00only # really"),
    item("__mangled", "checkbox"),
    item("Literal", "select", options=["x" * 60, "y" * 60]),
    slug='me/123 ✨ "file"',
    title='It\'s \\ a """title"""\n',
    description="x\\" * 300,
)
HIDING = model(item("str", "number"), item("prompt"), item("object", "hologram"), slug="me/hiding")
COLLIDING = model(item("image", "fileinput", required=True), slug="me/file")
COUNTING = model(item("n", "number", required=True), slug="me/counting")
WORDY = model(
    item("voice", "select", options=[f"voice-{n}" for n in range(30)], required=True),
    item("a", note="n " * 99),
    slug="me/wordy",
)
MODELS = [
    *(parse_model(dict[str, Any](script.record())) for script in STANDARD if script.record()["parameters"]),
    HOSTILE,
    HIDING,
    COLLIDING,
    WORDY,
]
NAMES = [f"model_{number}" for number in range(len(MODELS))]


def loaded(source: str) -> ModuleType:
    """Return a module made of source code."""
    spec = importlib.util.spec_from_loader("generated", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, "generated.py", "exec", dont_inherit=True), module.__dict__)
    return module


def typed_dict(source: str) -> Any:
    """Return the only TypedDict of a module."""
    [found] = [value for value in vars(loaded(source)).values() if hasattr(value, "__required_keys__")]
    return found


@pytest.mark.parametrize("known", MODELS, ids=lambda known: known.slug)
def test_every_module_matches_the_schema(known: Model) -> None:
    """Each parameter is a key, required if the schema says so."""
    source = codegen.generate(known)
    module, inputs = loaded(source), typed_dict(source)
    extra = set(codegen.TURN_FIELDS) if known.takes_turns else set[str]()
    assert known.slug == module.MODEL
    assert inputs.__required_keys__ | inputs.__optional_keys__ == {one.id for one in known.parameters} | extra
    assert (
        inputs.__required_keys__ == {one.id for one in known.parameters if one.required and one.default is None} - extra
    )
    assert inputs.__name__.isidentifier()
    assert max(map(len, source.splitlines())) < 130 or known is HOSTILE


def hint(*items: dict[str, Any], **more: Any) -> dict[str, str]:
    """Return the types of a model's keys as text."""
    hints = get_type_hints(typed_dict(codegen.generate(model(*items, **more))))
    return {name: str(kind).replace("typing.", "") for name, kind in hints.items()}


def test_types() -> None:
    """Literals for options, integers for integer steps, files as the SDK accepts them."""
    found = hint(
        item("a", "select", options=[{"text": "Five", "value": 5}, "b", "b"]),
        item("b", "range", min=1, step="2"),
        item("c", "range", min="0.5", step=1),
        item("d", "integer"),
        item("e", "text", default="42"),
        item("f", "text", default="hello"),
        item("g", "checkbox"),
        item("h", "select", options=""),
        item("i", "hologram"),
    )
    assert found == {
        "a": "Literal['5', 'b']",
        "b": "<class 'int'>",
        "c": "<class 'float'>",
        "d": "<class 'int'>",
        "e": "str | int | float",
        "f": "<class 'str'>",
        "g": "<class 'bool'>",
        "h": "<class 'str'>",
        "i": "<class 'object'>",
    }


def test_descriptions() -> None:
    """The description of a parameter is one line with bounds, default and number of files."""
    known = model(
        item("n", "integer", label="Steps.", note="More is\nfiner", min=1, max=9, step=2, default=5),
        item("f", "multifileinput", maxinputlenght=3),
        item("g", "fileinput"),
        item("h", "combinefileinput"),
        item("i"),
        description="Paints.",
    )
    body = next(node for node in ast.parse(codegen.generate(known)).body if isinstance(node, ast.ClassDef)).body
    texts = [node.value.value for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    assert texts == [
        "Paints.",
        "Steps. More is finer. At least 1. At most 9. In steps of 2. Default: 5.",
        "Files to upload, or URLs. At most 3.",
        "A file to upload, or a URL.",
        "Files to upload, or URLs.",
    ]


def test_names_that_are_no_identifiers_need_a_call() -> None:
    """Keywords, spaces, names that a class mangles, and names that hide a type."""
    for name in ("class", "with space", "__mangled", "Literal", "int", "1st", "a-b"):
        assert "= TypedDict(" in codegen.generate(model(item(name)))
    assert "class ModelInput(TypedDict):" in codegen.generate(model(item("prompt"), item("_private"), item("type")))
    assert codegen.generate(COLLIDING).count("FileInputs") == 1


def test_imports_are_used() -> None:
    """Texts and options import nothing."""
    wordy = model(
        item("voice", "select", options=["Mapping", "FileInput"], note="A Sequence."),
        item("n", "number", note="Literal text", required=True),
        description="A Mapping for TypedDict, NotRequired",
    )
    for source, names in (
        (codegen.generate(wordy), "Literal, NotRequired, TypedDict"),
        (codegen.generate(COUNTING), "TypedDict"),
    ):
        [line] = [line for line in source.splitlines() if "import" in line]
        assert line == f"from typing import {names}"


def test_letters_that_python_normalises() -> None:
    """Python normalises identifiers but not keys, so such names need a call."""
    names = {"µ", "\N{LATIN SMALL LIGATURE FI}", "fi"}
    found = typed_dict(codegen.generate(model(*(item(name) for name in names))))
    assert set(found.__annotations__) == names


@pytest.mark.parametrize(
    "note", ["type: ignore", "# type: ignore", "x " * 46 + "type: one of a b", "pyright: strict", "a # noqa"]
)
def test_notes_are_no_directives(note: str) -> None:
    """Notes are no directives: every comment starts with "#:" and has no other."""
    source = codegen.generate(model(item("a b", note=note)))
    comments = [token.string for token in generate_tokens(StringIO(source).readline) if token.type == COMMENT]
    assert comments
    assert all(comment.startswith("#: ") and comment.count("#") == 1 for comment in comments)


def test_options_of_other_types() -> None:
    """Options of other types are no literals."""
    found = hint(item("x" * 80, "json", options=["a", "b"]), item("y" * 80, "text", default="1", options=["a", "b"]))
    assert found["y" * 80] == "str | int | float"
    assert "Mapping[str, object]" in found["x" * 80]


USES = """
import io
from pathlib import Path
from wiro_async import AsyncWiro, File
from {painter} import MODEL, TextToImageInput
from {tryon} import VirtualTryOnInput
from {colliding} import FileInputs
from {chat} import ChatInput


async def use(wiro: AsyncWiro) -> None:
    right: TextToImageInput = {{"prompt": "a fox", "samples": "2", "width": 512, "scale": 7, "seed": 7}}
    await wiro.run(MODEL, right)
    await wiro.models.validate(MODEL, right)
    wrong: TextToImageInput = {{"prompt": "a fox", "samples": "9"}}  # type: ignore[typeddict-item]
    missing: TextToImageInput = {{"width": 512}}  # type: ignore[typeddict-item]
    unknown: TextToImageInput = {{"prompt": "a", "promt": "b"}}  # type: ignore[typeddict-unknown-key]
    fraction: TextToImageInput = {{"prompt": "a", "width": 0.5}}  # type: ignore[typeddict-item]
    clothes: VirtualTryOnInput = {{
        "inputImageHuman": Path("me.png"),
        "inputImageClothes": [File(b"", "a.png"), "https://example.com/a.png", io.BytesIO()],
        "keepShoes": True,
    }}
    await wiro.run("family/virtual-try-on", clothes)
    number: FileInputs = {{"image": 7}}  # type: ignore[typeddict-item]
    turn: ChatInput = {{"messages": [{{"role": "user", "content": "hi"}}], "tool_choice": "auto"}}
    await wiro.run("family/chat", turn)
    print(wrong, missing, unknown, fraction, number)
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the modules of all models, and one that uses them correctly and incorrectly."""
    folder = tmp_path_factory.mktemp("generated")
    places = {known.slug: name for name, known in zip(NAMES, MODELS, strict=True)}
    for known in MODELS:
        (folder / f"{places[known.slug]}.py").write_text(codegen.generate(known), encoding="utf-8")
    uses = USES.format(
        painter=places["family/text-to-image"],
        tryon=places["family/virtual-try-on"],
        colliding=places["me/file"],
        chat=places["family/chat"],
    )
    (folder / "uses.py").write_text(uses, encoding="utf-8")
    return folder


def run(folder: Path, *command: str) -> str:
    """Run a checker, and return its output, or "" if it succeeds."""
    is_installed = HERE.name == "site-packages"  # then checkers find it by themselves
    environment = os.environ if is_installed else {**os.environ, "MYPYPATH": str(HERE), "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_mypy_agrees(generated: Path) -> None:
    """mypy --strict accepts the modules and finds every misuse. An unused ignore would be an error."""
    pytest.importorskip("mypy")
    options = ["--strict", "--no-error-summary", "--follow-imports=silent", f"--cache-dir={CACHE}"]
    assert run(generated, "mypy", *options, ".") == ""


def test_pyright_agrees(generated: Path) -> None:
    """pyright accepts the modules strictly and finds every misuse."""
    pytest.importorskip("pyright")
    head = "# pyright: strict\n"
    for name in NAMES:
        path = generated / f"{name}.py"
        path.write_text(head + path.read_text(encoding="utf-8").removeprefix(head), encoding="utf-8")
    (generated / "pyrightconfig.json").write_text(
        f'{{"extraPaths": ["{HERE}"], "reportUnnecessaryTypeIgnoreComment": "error"}}', encoding="utf-8"
    )
    assert run(generated, "pyright", "-p", ".", "--pythonpath", sys.executable) == ""


# On the command line


def test_the_command(
    emulator: WiroEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes a module to standard output, without a key."""
    monkeypatch.setenv("WIRO_API_BASE_URL", emulator.base_url)
    assert codegen.main(["family/music"]) == 0
    assert typed_dict(capsys.readouterr().out).__name__ == "MusicInput"
    assert not any("x-api-key" in call.headers for call in emulator.ledger.calls)


def test_the_command_as_a_program(emulator: WiroEmulator, tmp_path: Path) -> None:
    """The command works as in the README."""
    environment = {**os.environ, "WIRO_API_BASE_URL": emulator.base_url}
    command = [sys.executable, "-m", "wiro_async.codegen", "family/music"]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=True)
    assert typed_dict(done.stdout).__name__ == "MusicInput"


@pytest.mark.parametrize(
    "slug,message",
    [("family/musik", "did you mean 'family/music'?"), ("emulator/stuck", "lists no parameters"), ("x", "owner/model")],
)
def test_a_command_that_fails(
    emulator: WiroEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], slug: str, message: str
) -> None:
    """The error goes to standard error, and nothing to standard output."""
    monkeypatch.setenv("WIRO_API_BASE_URL", emulator.base_url)
    assert codegen.main([slug]) == 1
    out, err = capsys.readouterr()
    assert (out, message in err) == ("", True)


async def test_its_inputs_run(wiro: AsyncWiro) -> None:
    """A generated dictionary is a valid input."""
    inputs = typed_dict(codegen.generate(await wiro.models.get("family/upscaler")))
    result = await wiro.run("family/upscaler", inputs(inputImage=File(b"x", "a.png"), scale="4"), validate=True)
    assert result.succeeded
