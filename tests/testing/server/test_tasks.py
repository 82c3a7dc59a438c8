"""Task/Detail, List, Cancel, Kill, InputOutputDelete."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from tests.testing.conftest import Api


async def test_detail_of_a_success(api: "Api") -> None:
    """Numbers are strings, times are Unix seconds, and there is an output."""
    token = await api.run("sleeper")
    task = await api.ended(token)
    assert (task["status"], task["pexit"], task["totalcost"]) == (
        "task_postprocess_end",
        "0",
        "0.001000000000",
    )
    assert task["socketaccesstoken"] == token
    assert all(isinstance(task[name], str) for name in ("id", "size", "elapsedseconds", "cps", "createtime"))
    assert int(task["createtime"]) <= int(task["starttime"]) <= int(task["endtime"])
    assert task["canceltime"] == "0"
    [output] = task["outputs"]
    assert (output["name"], output["size"], task["size"]) == ("slept.txt", "12", "12")
    assert (await api.http.get(output["url"])).content == b"Slept well.\n"


async def test_detail_before_the_end(api: "Api") -> None:
    """A task that is not over has no exit code and no outputs."""
    task = await api.detail(await api.run("queued", callbackUrl=None))
    assert task["callbackurl"] == ""
    assert (task["status"], task["pexit"], task["outputs"]) == ("task_queue", None, None)
    assert task["starttime"] == "0"


async def test_failed_task(api: "Api") -> None:
    """A failure has exit code 1, costs nothing, and the log ends with the reason."""
    task = await api.ended(await api.run("failing", reason="No GPU."))
    assert (task["status"], task["pexit"], task["totalcost"]) == ("task_postprocess_end", "1", "0")
    assert task["debugoutput"].splitlines()[-1] == "No GPU."
    assert task["debugerror"] == "No GPU.\n"
    assert task["outputs"] == []
    failed = await api.ended(await api.run("sleeper", fail="true"))
    assert failed["pexit"] == "1"


async def test_cancel(api: "Api") -> None:
    """Only a queued task can be cancelled, and only by id."""
    token = await api.run("queued")
    task = await api.detail(token)
    assert (await api.post("Task/Cancel", {"tasktoken": token}))["errors"][0]["code"] == 0
    assert (await api.post("Task/Cancel", {"taskid": task["id"]}))["result"] is True
    cancelled = await api.detail(token)
    assert (cancelled["status"], cancelled["totalcost"]) == ("task_cancel", "0")
    assert cancelled["canceltime"] != "0"
    again = await api.post("Task/Cancel", {"taskid": task["id"]})
    assert again["errors"][0]["message"] == "Task is not in a cancellable state."


async def test_kill(api: "Api") -> None:
    """Only a running task can be killed, by token or id. It ends as cancelled."""
    token = await api.run("stuck")
    task = await api.reached(token, "task_start")
    assert (await api.post("Task/Cancel", {"taskid": task["id"]}))["errors"][0]["code"] == 1
    assert (await api.post("Task/Kill", {"socketaccesstoken": token}))["result"] is True
    assert (await api.detail(token))["status"] == "task_cancel"
    again = await api.post("Task/Kill", {"taskid": task["id"]})
    assert again["errors"][0]["message"].startswith("Task could not be killed")


async def test_kill_stops_the_timeline(api: "Api", emulator: WiroEmulator) -> None:
    """A killed task sends nothing more and stays cancelled."""
    token = await api.run("sleeper", seconds=6)
    await api.reached(token, "task_start", "task_output")
    await api.post("Task/Kill", {"socketaccesstoken": token})
    await asyncio.sleep(0.25)
    [task] = emulator.ledger.tasks.values()
    assert (task.status, task.pexit, task.finished) == ("task_cancel", "", True)


@pytest.mark.parametrize("endpoint", ["Task/Detail", "Task/Kill", "Task/InputOutputDelete"])
async def test_missing_and_unknown(api: "Api", endpoint: str) -> None:
    """Requests without a task or with an unknown one are refused."""
    nothing = await api.post(endpoint)
    assert nothing["errors"][0]["message"] == "taskid or socketaccesstoken is required"
    unknown = await api.post(endpoint, {"taskid": "1"})
    assert unknown["errors"][0]["code"] == 1
    assert (await api.post("Task/Cancel", {"taskid": "1"}))["errors"][0]["message"] == "task-not-exist"


async def test_delete_outputs(api: "Api") -> None:
    """Files are deleted, the task stays. The task must be over. Deleting twice works."""
    running = await api.run("stuck")
    assert (await api.post("Task/InputOutputDelete", {"tasktoken": running}))["errors"][0]["code"] == 1
    token = await api.run("sleeper")
    task = await api.ended(token)
    for _ in range(2):
        assert (await api.post("Task/InputOutputDelete", {"tasktoken": token}))["result"] is True
    assert (await api.http.get(task["outputs"][0]["url"])).status_code == 404
    assert (await api.detail(token))["outputs"] == []
    written = await api.run("writer", prompt="x", seconds=0.1)
    await api.ended(written)
    assert (await api.post("Task/InputOutputDelete", {"tasktoken": written}))["result"] is True


async def test_list(api: "Api") -> None:
    """Pages, newest first by default, filtered by model."""
    for n in range(5):
        await api.run("queued" if n % 2 else "sleeper", n=n)
    page: dict[str, Any] = await api.post("Task/List", {"start": "1", "limit": "2", "order": "DESC"})
    ids = [int(task["id"]) for task in page["tasklist"]]
    assert page["total"] == "5"
    assert len(ids) == 2
    assert ids[0] == ids[1] + 1
    oldest = await api.post("Task/List", {"order": "ASC"})
    assert [int(task["id"]) for task in oldest["tasklist"]][1:3] == [ids[1] - 1, ids[1]]
    for name in ("emulator/queued", "queued"):
        assert (await api.post("Task/List", {"modelName": name}))["total"] == "2"
    refused = await api.post("Task/List", {"start": "x"})
    assert "must be integer" in refused["errors"][0]["message"]
