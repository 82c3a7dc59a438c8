"""Faults of requests and of tasks."""

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from wiro_async.testing import (
    Call,
    Cut,
    Delay,
    DelayAnswer,
    HttpFault,
    ResetAfter,
    ResetBefore,
    Respond,
    WiroEmulator,
)

if TYPE_CHECKING:
    from tests.testing.conftest import Api


async def test_respond(api: "Api", emulator: WiroEmulator) -> None:
    """Any status, body and headers replace the response."""
    emulator.faults.http("Run/*", Respond(429, "{}", headers={"retry-after": "7"}))
    emulator.faults.http("Run/*", Respond(502, "<html>", "text/html"))
    emulator.faults.http("Run/*", Respond(307, headers={"location": "http://localhost/"}))
    first, second, third = [await api.send("Run/emulator/sleeper") for _ in range(3)]
    assert (first.status_code, first.headers["retry-after"]) == (429, "7")
    assert (second.status_code, second.text, second.headers["content-type"]) == (
        502,
        "<html>",
        "text/html; charset=utf-8",
    )
    assert third.headers["location"] == "http://localhost/"
    assert emulator.ledger.submissions == []
    assert [call.status for call in emulator.ledger.calls] == [429, 502, 307]
    await api.run("sleeper")


async def test_respond_after_handling(api: "Api", emulator: WiroEmulator) -> None:
    """The run is billed although the response is broken."""
    emulator.faults.http("Run/*", Respond(200, b'{"result":true,"err', handled=True))
    assert (await api.send("Run/emulator/sleeper")).text == '{"result":true,"err'
    assert len(emulator.ledger.submissions) == 1


@pytest.mark.parametrize("fault,billed", [(ResetBefore(), 0), (ResetAfter(), 1)])
async def test_resets(api: "Api", emulator: WiroEmulator, fault: HttpFault, billed: int) -> None:
    """The connection is reset before or after the request is handled."""
    emulator.faults.http("Run/*", fault)
    with pytest.raises(httpx.ReadError):
        await api.send("Run/emulator/sleeper")
    assert len(emulator.ledger.submissions) == billed
    assert emulator.ledger.calls[0].status is None
    await api.run("sleeper")


async def test_reset_in_the_middle_of_an_upload(api: "Api", emulator: WiroEmulator) -> None:
    """A reset does not wait for the body."""
    emulator.faults.http("File/Upload", ResetBefore())
    files = {"file": ("big.bin", b"x" * 8_000_000)}
    with pytest.raises(httpx.TransportError):
        await api.http.post(f"{emulator.base_url}/File/Upload", files=files)
    assert emulator.ledger.calls[0].files == ()


@pytest.mark.parametrize("fault,billed_at", [(Delay(0.15), True), (DelayAnswer(0.15), False)])
async def test_delays(api: "Api", emulator: WiroEmulator, fault: HttpFault, billed_at: bool) -> None:
    """The request is handled late, or its response is late."""
    emulator.faults.http("Run/*", fault)
    began = time.time()
    await api.run("sleeper")
    assert time.time() - began >= 0.15
    [submission] = emulator.ledger.submissions
    assert (submission.at - began >= 0.15) is billed_at


async def test_cut_download(api: "Api", emulator: WiroEmulator) -> None:
    """The length is announced, and the body is cut."""
    task = await api.ended(await api.run("sleeper"))
    url = task["outputs"][0]["url"]
    emulator.faults.http("files/*", Cut(5))
    async with api.http.stream("GET", url) as answer:
        assert answer.headers["content-length"] == "12"
        parts = answer.aiter_raw()
        assert await anext(parts) == b"Slept"
        with pytest.raises(httpx.RemoteProtocolError, match="received 5 bytes, expected 12"):
            await anext(parts)
    assert (await api.http.get(url)).status_code == 200


async def test_counting(api: "Api", emulator: WiroEmulator) -> None:
    """`after` skips some, `times` hits some, None hits all. The first rule that hits applies."""
    emulator.faults.http("Tool/*", Respond(500), times=2, after=1)
    emulator.faults.http("Tool/Explore", Respond(501), times=None, after=1)
    found = [(await api.send("Tool/Explore")).status_code for _ in range(5)]
    assert found == [200, 500, 500, 501, 501]
    emulator.faults.clear()
    assert (await api.send("Tool/Explore")).status_code == 200


async def test_when(api: "Api", emulator: WiroEmulator) -> None:
    """A rule can check parameters, and other requests do not count."""

    def is_second(call: Call) -> bool:
        return call.parameters.get("n") == 2

    emulator.faults.http("Run/*", Respond(500), when=is_second)
    found = [(await api.send("Run/emulator/sleeper", {"n": n})).status_code for n in (1, 2, 2)]
    assert found == [200, 500, 200]


async def test_detail_lag(api: "Api", emulator: WiroEmulator) -> None:
    """Task/Detail shows the past: first nothing, then an old state, then the end."""
    emulator.faults.detail_lag = 0.15
    answer = await api.post("Run/emulator/sleeper", {"seconds": 1})
    listed = await api.post("Task/Detail", {"taskid": answer["taskid"]})
    assert (listed["total"], listed["tasklist"]) == ("0", [])
    task = await api.ended(answer["socketaccesstoken"])
    assert task["pexit"] == "0"
    assert time.time() - emulator.ledger.submissions[0].at >= 0.2


async def test_empty_tasklist(api: "Api", emulator: WiroEmulator) -> None:
    """The first reads of each task list nothing."""
    emulator.faults.empty_tasklist = 2
    token = await api.run("queued")
    found = [len((await api.post("Task/Detail", {"tasktoken": token}))["tasklist"]) for _ in range(3)]
    assert found == [0, 0, 1]


async def test_list_lag(api: "Api", emulator: WiroEmulator) -> None:
    """Recent tasks are not listed."""
    emulator.faults.list_lag = 60
    await api.run("queued")
    assert (await api.post("Task/List"))["total"] == "0"
    emulator.faults.clear()
    assert (await api.post("Task/List"))["total"] == "1"


async def test_output_lag(api: "Api", emulator: WiroEmulator) -> None:
    """Outputs are late, uploads are not."""
    emulator.faults.output_lag = 2
    task = await api.ended(await api.run("sleeper"))
    url = task["outputs"][0]["url"]
    assert [(await api.http.get(url)).status_code for _ in range(3)] == [404, 404, 200]
    files = {"file": ("x.txt", b"x")}
    uploaded = await api.http.post(f"{emulator.base_url}/File/Upload", files=files)
    assert (await api.http.get(uploaded.json()["list"][0]["url"])).status_code == 200


async def test_stored_error(api: "Api", emulator: WiroEmulator) -> None:
    """A failed start is stored as task_error, and the task is queued again."""
    with WiroEmulator(api_secret=None) as slower:
        slower.faults.stored_error = True
        one = type(api)(slower, api.http)
        token = await one.run("stuck")
        failed = await one.reached(token, "task_error")
        assert (failed["pexit"], failed["debugerror"]) == (None, "Worker could not be started.\n")
        started = await one.reached(token, "task_start")
        assert started["starttime"] != "0"
