"""Run: bodies, echoes, refusals, limits and the ledger."""

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wiro_async.testing import ModelScript, Script, Submission, WiroEmulator, timeline

if TYPE_CHECKING:
    from tests.testing.conftest import Api


async def test_json_run(api: "Api") -> None:
    """A run has an id and a token, and its parameters are echoed as strings."""
    answer = await api.post("Run/emulator/sleeper", {"n": 4, "f": 0.5, "one": 1.0, "b": True, "l": [1, "x"]})
    assert answer["errors"] == []
    assert answer["taskid"].isdecimal()
    task = await api.ended(answer["socketaccesstoken"])
    assert task["id"] == answer["taskid"]
    assert json.loads(task["parameters"]) == {"n": "4", "f": "0.5", "one": "1", "b": "true", "l": ["1", "x"]}


async def test_parameters_are_text_or_object(api: "Api") -> None:
    """The two generations echo parameters and categories in different formats."""
    older, newer = [await api.ended(await api.run("sleeper", deep={"x": 1, "none": None})) for _ in range(2)]
    assert older["categories"] == '["test"]'
    assert newer["categories"] == ["test"]
    assert json.loads(older["parameters"]) == newer["parameters"] == {"deep": {"x": "1", "none": None}}


async def test_multipart_run(api: "Api", emulator: WiroEmulator) -> None:
    """Files are stored and echoed as URLs. Repeated parts become lists. An empty part is no file."""
    files: list[tuple[str, tuple[str | None, bytes | str, str]]] = [
        ("one", ("a b.txt", b"first", "text/plain")),
        ("two", ("x.bin", b"\x00", "application/octet-stream")),
        ("two", ("y.bin", b"\x01" * 2_000_000, "application/octet-stream")),
        ("empty", ("", b"", "application/octet-stream")),
        ("tag", (None, "red", "text/plain")),
        ("tag", (None, "blue", "text/plain")),
    ]
    answer = await api.http.post(f"{emulator.base_url}/Run/emulator/sleeper", files=files)
    task = await api.ended(answer.json()["socketaccesstoken"])
    echoed = json.loads(task["parameters"])
    assert (await api.http.get(echoed["one"])).content == b"first"
    assert len(echoed["two"]) == 2
    assert (echoed["empty"], echoed["tag"]) == ("", ["red", "blue"])
    [submission] = emulator.ledger.submissions
    assert [(file.field, file.name, file.size) for file in submission.files] == [
        ("one", "a b.txt", 5),
        ("two", "x.bin", 1),
        ("two", "y.bin", 2_000_000),
    ]


async def test_big_files_are_not_kept(api: "Api", emulator: WiroEmulator) -> None:
    """Above 16 MiB only size and digest are kept."""
    big = b"x" * (16 * 2**20 + 1)
    await api.http.post(f"{emulator.base_url}/Run/emulator/sleeper", files={"big": ("big.bin", big)})
    [file] = emulator.ledger.submissions[0].files
    assert (file.size, file.data) == (len(big), None)
    assert len(file.sha256) == 64


@pytest.mark.parametrize(
    "content,kind",
    [
        (b"{oh", "application/json"),
        (b"[1]", "application/json"),
        (b"--x", "multipart/form-data"),
    ],
)
async def test_malformed_body(api: "Api", emulator: WiroEmulator, content: bytes, kind: str) -> None:
    """An unreadable body is refused with the service's text."""
    url = f"{emulator.base_url}/Run/emulator/sleeper"
    answer = (await api.http.post(url, content=content, headers={"content-type": kind})).json()
    assert answer["errors"][0]["message"] == "Request parameters are invalid."


@pytest.mark.parametrize(
    "path,body,code,message",
    [
        ("Run/emulator/painter", {}, 0, "Request parameter [prompt] required"),
        ("Run/emulator/mirror", {}, 0, "Request files [inputImage] required"),
        ("Run/emulator/painter", {"prompt": "x", "width": "w"}, 0, "must be integer or float"),
        ("Run/emulator/nobody", {}, 1, "slug-owner-project-not-exist"),
        ("Run/EMULATOR/painter", {"prompt": "x"}, 1, "slug-owner-project-not-exist"),
        ("Run/emulator/painter/later", {"prompt": "x"}, 0, "Error parsing url."),
        ("Run/emulator", {}, 0, "Error parsing url."),
        ("Nothing/Here", {}, 0, "Error parsing url."),
    ],
)
async def test_refusals(api: "Api", path: str, body: dict[str, Any], code: int, message: str) -> None:
    """Errors are envelopes, mostly with HTTP 200."""
    answer = await api.send(path, body)
    assert answer.status_code == (404 if "url" in message else 200)
    [error] = answer.json()["errors"]
    assert error["code"] == code
    assert message in error["message"]
    assert api.emulator.ledger.submissions == []


async def test_paths_outside_the_api(api: "Api", emulator: WiroEmulator) -> None:
    """The API is below /v1 and accepts only POST."""
    assert (await api.http.post(emulator.base_url.removesuffix("/v1") + "/v2/Task/Detail")).status_code == 404
    assert (await api.http.get(emulator.base_url + "/Task/Detail")).status_code == 404


async def test_slugs_are_percent_decoded() -> None:
    """Slugs may have spaces, capitals and slashes."""
    odd = ModelScript(" Odd Owner/Model 1/x", lambda given: Script(timeline(0.1)))
    headers = {"user-agent": "emulator-tests", "x-api-key": "emulator-key"}
    async with (
        WiroEmulator(models=[odd], api_secret=None) as emulator,
        httpx.AsyncClient(verify=False, trust_env=False, headers=headers) as http,
    ):
        answer = await http.post(f"{emulator.base_url}/Run/%20Odd%20Owner/Model%201%2Fx")
    assert answer.json()["result"] is True


async def test_concurrency_limit(api: "Api") -> None:
    """A low balance limits the running tasks. A task that ends frees its slot."""
    with WiroEmulator(api_secret=None, balance=Decimal(25)) as poor:
        poor_api = type(api)(poor, api.http)
        first, second = await poor_api.run("stuck"), await poor_api.run("queued")
        refused = await poor_api.post("Run/emulator/sleeper")
        assert refused["errors"][0]["code"] == 96
        assert "you can run up to 2 tasks" in refused["errors"][0]["message"]
        await poor_api.reached(first, "task_start")
        await poor_api.post("Task/Kill", {"socketaccesstoken": first})
        await poor_api.run("sleeper")
        assert second


async def test_money_runs_out(api: "Api") -> None:
    """Successful runs reduce the balance. Below zero, runs are refused."""
    with WiroEmulator(api_secret=None, balance=Decimal("0.03"), speed=20) as poor:
        poor_api = type(api)(poor, api.http)
        task = await poor_api.ended(await poor_api.run("painter", prompt="x", width=16, height=16))
        assert Decimal(task["totalcost"]) == Decimal("0.04")
        assert poor.balance == Decimal("-0.01")
        refused = await poor_api.post("Run/emulator/sleeper")
        assert refused["errors"][0]["code"] == 97


async def test_ledger(api: "Api", emulator: WiroEmulator) -> None:
    """Calls and submissions are recorded, and can be counted, grouped, exported and cleared."""
    for prompt in ("a", "b", "a"):
        await api.run("sleeper", prompt=prompt, projectid=9)
    ledger = emulator.ledger
    await api.post("Task/Detail", {"taskid": "0"})
    assert (ledger.count("Run/*"), ledger.count("Task/Detail"), ledger.count()) == (3, 1, 4)
    assert {name: len(found) for name, found in ledger.submissions_by("prompt").items()} == {"a": 2, "b": 1}
    call, submission = ledger.calls[0], ledger.submissions[0]
    assert (call.method, call.endpoint, call.status) == ("POST", "Run/emulator/sleeper", 200)
    assert call.parameters["prompt"] == "a"
    assert call.headers["x-api-key"] == "emulator-key"
    assert isinstance(submission, Submission)
    assert (submission.model, submission.project_id) == ("emulator/sleeper", "9")
    assert ledger.tasks[submission.task_id].token == submission.token

    exported = (await api.http.get(emulator.base_url.removesuffix("v1") + "_emulator/ledger")).json()
    assert exported["calls"] == {"Run/emulator/sleeper": 3, "Task/Detail": 1}
    assert [entry["parameters"]["prompt"] for entry in exported["submissions"]] == ["a", "b", "a"]
    assert set(exported["tasks"]) == {entry.task_id for entry in ledger.submissions}
    ledger.clear()
    assert ledger.count() == len(ledger.submissions) == 0
