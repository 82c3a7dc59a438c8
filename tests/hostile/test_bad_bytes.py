"""One bad byte costs one character: answers that are almost JSON, on every path by which answers come."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from wiro_async import AsyncWiro, File, InsufficientBalanceError, TextDelta, Timeouts, Tuning
from wiro_async.webhooks import WebhookReceiver

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

MARK = b"#bad#"
QUICK = Tuning(
    poll_first=0.02, poll_min=0.02, poll_confirm=0.05, socket_close=0.02, search_pause=0.05, callback_confirm=0.02
)
# What a service, a program or a proxy does to a text, and to a whole answer.
IN_TEXT = {
    "latin-1": b"caf\xe9",
    "half a character": b"caf\xc3",
    "a character from the middle": b"\x80caf",
    "control characters": b"caf\x1b[0m\x00\n",
    "half a surrogate pair": b"caf\\ud83d",
    "no escape": b"caf\\x1b",
    "a cut escape": b"caf\\u12",
    "a surrogate in UTF-8": b"caf\xed\xa0\xbd",
}
AROUND: dict[str, Callable[[bytes], bytes]] = {
    "byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "NULs behind": lambda body: body + b"\0\0\0",
    "a byte between values": lambda body: body.replace(b", ", b", \xff", 1),
    "a byte in a number": lambda body: body[:-1] + b', "n": 1\xff2}',
    "NaN": lambda body: body[:-1] + b', "n": [NaN, -Infinity, 1e999]}',
    "a number of 5,000 digits": lambda body: body[:-1] + b', "n": ' + b"9" * 5000 + b"}",
    "a list nested 5,000 times": lambda body: body[:-1] + b', "n": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "objects nested 50,000 times": lambda body: body[:-1] + b', "n": ' + b'{"n":' * 50_000 + b"1" + b"}" * 50_001,
    "a key twice": lambda body: body[:-1] + b', "n": 1, "n": 2}',
    "text behind": lambda body: body + b"<!-- served by a proxy -->",
    "a warning before": lambda body: b"<br />\nWarning: it is {odd} in line 3\n" + body,
    "UTF-16": lambda body: body.decode("latin-1").encode("utf-16"),
}


def replace_mark(bad: bytes, body: bytes) -> bytes:
    """Put bad bytes in the place of the mark."""
    return body.replace(MARK, bad)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    **{name: partial(replace_mark, bad) for name, bad in IN_TEXT.items()},
    **AROUND,
}


@pytest_asyncio.fixture
async def raw_wiro(raw: RawWiro) -> AsyncIterator[AsyncWiro]:
    """A session that is quick, and needs no socket."""
    async with AsyncWiro(**raw.options(), updates="polling", tuning=QUICK) as wiro:
        yield wiro


every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def broken(form: Callable[[bytes], bytes], answer: dict[str, Any]) -> bytes:
    """Write an answer, and damage it."""
    return form(json.dumps(answer).encode())


def date() -> str:
    """The header with the service's clock. Without it, no task may be taken for a lost run."""
    return f"Date: {formatdate(usegmt=True)}"


def breaks(raw: RawWiro, endpoint: str, form: Callable[[bytes], bytes], **fields: Any) -> None:
    """Damage the answers of an endpoint that lists tasks."""

    async def answer(peer: Peer) -> None:
        rows = [{**row, **fields} for row in reversed(raw.rows.values())]
        if endpoint == "Task/Detail":
            asked = [peer.sent.get("taskid"), peer.sent.get("tasktoken")]
            rows = [row for row in rows if row["id"] in asked or row["socketaccesstoken"] in asked]
        await peer.respond(broken(form, {"result": True, "errors": [], "tasklist": rows}), date())

    raw.routes[endpoint] = answer


@every_form
@pytest.mark.parametrize("updates", ["polling", "websocket"])
async def test_the_state_of_a_task(raw: RawWiro, form: Callable[[bytes], bytes], updates: Any) -> None:
    """The run ends, with its cost and its outputs."""
    breaks(raw, "Task/Detail", form, debugoutput="#bad#")
    async with AsyncWiro(**raw.options(), updates=updates, tuning=QUICK) as wiro:
        result = await wiro.run("owner/model", {"prompt": "x"}, timeout=5)
    assert (float(result.cost or 0), len(result.outputs), result.info.exit_code) == (0.04, 1, 0)
    assert raw.requests.count("Task/Detail") <= 2


@every_form
async def test_a_list(raw: RawWiro, raw_wiro: AsyncWiro, form: Callable[[bytes], bytes]) -> None:
    """All rows come."""
    for number in range(3):
        raw.make_task("owner/model", {"prompt": str(number)})
    breaks(raw, "Task/List", form, debugoutput="#bad#")
    assert [task.id async for task in raw_wiro.tasks.list(limit=3)] == ["1002", "1001", "1000"]


@pytest.mark.parametrize("odd", [None, 7, "x", [], {}, {"id": {}, "parameters": 7, "outputs": [7, None], "pexit": []}])
async def test_an_odd_row(raw: RawWiro, raw_wiro: AsyncWiro, odd: Any) -> None:
    """It costs that row, not the search that reads the list."""
    lose_the_answer(raw)

    async def rows(peer: Peer) -> None:
        await peer.respond_json({"result": True, "errors": [], "tasklist": [odd, *raw.rows.values()]}, date())

    raw.routes["Task/List"] = rows
    assert (await raw_wiro.run("owner/model", {"prompt": "x"}, timeout=8)).info.id == "1000"
    assert len(raw.runs) == 1


def take_run(raw: RawWiro, peer: Peer) -> dict[str, Any]:
    """Take a run, whose task is as young as it is."""
    answer = raw.take_run("owner/model", peer.sent)
    raw.rows[answer["taskid"]]["createtime"] = str(int(time.time()))
    return answer


def lose_the_answer(raw: RawWiro) -> None:
    """Take runs, and hang up."""

    async def lost(peer: Peer) -> None:
        take_run(raw, peer)
        peer.reset()

    raw.routes["Run"] = lost


@every_form
async def test_the_search_for_a_lost_run(raw: RawWiro, raw_wiro: AsyncWiro, form: Callable[[bytes], bytes]) -> None:
    """It finds its task among broken ones, and nothing is sent twice."""
    lose_the_answer(raw)
    raw.make_task("owner/model", {"prompt": "another"}, parameters={"prompt": "#bad#"})
    breaks(raw, "Task/List", form, debugerror="#bad#")
    result = await raw_wiro.run("owner/model", {"prompt": "mine"}, timeout=8)
    assert (result.info.id, len(raw.runs)) == ("1001", 1)


@pytest.mark.parametrize("echo", ["ein caf\ufffd in Z\ufffd\ufffdrich", "ein caf\ufffd in Zürich"])
@pytest.mark.parametrize("on_unknown", ["raise", "resubmit"])
async def test_a_broken_echo_is_not_absence(raw: RawWiro, echo: str, on_unknown: Any) -> None:
    """A task whose echo may be that of the lost run is taken for it: sending again might be billed twice."""
    lose_the_answer(raw)
    breaks(raw, "Task/List", lambda body: body, parameters={"prompt": echo})
    async with AsyncWiro(**raw.options(), on_unknown=on_unknown, updates="polling", tuning=QUICK) as wiro:
        result = await wiro.run("owner/model", {"prompt": "ein café in Zürich"}, timeout=8)
    assert (result.info.id, len(raw.runs)) == ("1000", 1)


RUN_FORMS: dict[str, Callable[[bytes], bytes]] = {
    **FORMS,
    "cut behind the ids": lambda body: body[: body.index(b"token-1000") + 11],
    "cut before the token": lambda body: body[: body.index(b', "socketaccesstoken"') + 1],
    "a broken id": lambda body: body.replace(b'"1000"', b'"1\xff00"'),
    "a broken token": lambda body: body.replace(b"token-1000", b"tok\xffn-1000"),
    "the ids first": lambda body: b"{" + body[body.index(b'"taskid"') : body.index(b', "note"')],
    "errors first": lambda body: body.replace(b'{"result": true, ', b"{")[:-1],
    "a quote that is gone": lambda body: body.replace(b'"errors"', b'"errors'),
}


@pytest.mark.parametrize("form", RUN_FORMS.values(), ids=RUN_FORMS)
async def test_the_answer_to_a_run(raw: RawWiro, raw_wiro: AsyncWiro, form: Callable[[bytes], bytes]) -> None:
    """While it shows one task, that is the run's: no search, nothing sent again."""

    async def answer(peer: Peer) -> None:
        taken = raw.take_run("owner/model", peer.sent)
        await peer.respond(broken(form, {**taken, "note": "#bad#"}))

    raw.routes["Run"] = answer
    result = await raw_wiro.run("owner/model", {"prompt": "x"}, timeout=5)
    assert (result.info.id, len(raw.runs)) == ("1000", 1)
    assert "Task/List" not in raw.requests


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":true,"taskid":"10',
        b'{"result":true,"taskid":"1\xff00","socketaccesstoken":"t\xff"}',
        b'<html>{"result":true,"taskid":"999"',
        b'{"result":false,"taskid":"999","socketaccesstoken":"x',
        b'{"result":true,"taskid":"999","echo":{"taskid":"998"',
        b'{"result":true,"previous":{"taskid":"999","socketaccesstoken":"token-999"},"note":"',
        b'{"result":true,"tasks":[{"taskid":"999"},',
        b'{"errors":[],"taskid":"999","note":"',
        b'{"result":true,"taskid":NaN,"socketaccesstoken":null}',
        b'{"result":true,"taskid":"null","socketaccesstoken":"undefined"}',
        b'{"result":true,"taskid":true,"socketaccesstoken":""}',
        b'{"result":true,"taskid":"0"}',
        b'{"result":true,"taskid":' + b"9" * 5000 + b"}",
        b'{"result":true,"taskid":"<b>999</b>"}',
        b'{"result":true,"taskid":["999"]}',
        b'{"taskid":"999","socketaccesstoken":"token-999","result":false,"note":"',
    ],
)
async def test_an_answer_that_shows_no_certain_task(raw: RawWiro, raw_wiro: AsyncWiro, body: bytes) -> None:
    """The task is searched for: no foreign one is taken."""

    async def answer(peer: Peer) -> None:
        take_run(raw, peer)
        await peer.respond(body)

    raw.routes["Run"] = answer
    result = await raw_wiro.run("owner/model", {"prompt": "x"}, timeout=8)
    assert (result.info.id, len(raw.runs), "Task/List" in raw.requests) == ("1000", 1, True)


def break_off(peer: Peer) -> None:
    """Close the connection."""
    peer.writer.close()


def reset(peer: Peer) -> None:
    """Reset the connection."""
    peer.reset()


def fall_silent(peer: Peer) -> None:
    """Send nothing more."""


@pytest.mark.parametrize("end", [break_off, reset, fall_silent])
@pytest.mark.parametrize("head", ["Content-Length: 5000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("updates", ["polling", "sse"])
@pytest.mark.parametrize("status", ["200 OK", "502 Bad Gateway"])
async def test_an_answer_to_a_run_that_breaks_off(
    raw: RawWiro, end: Callable[[Peer], None], head: str, updates: Any, status: str
) -> None:
    """Behind the ids, within its body: they are the run's, without a search."""

    async def answer(peer: Peer) -> None:
        part = json.dumps(raw.take_run("owner/model", peer.sent)).encode()[:-1]
        framed = part if "Length" in head else b"%x\r\n%s\r\n" % (len(part), part)
        await peer.send(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{head}\r\n\r\n".encode() + framed)
        await asyncio.sleep(0.1)  # a reset may overtake what was sent before
        end(peer)
        await peer.gone()

    raw.routes["Run"] = answer
    async with AsyncWiro(**raw.options(), updates=updates, tuning=QUICK, timeout=Timeouts(request=0.5)) as wiro:
        result = await wiro.run("owner/model", {"prompt": "x"})
    assert (result.info.id, len(raw.runs)) == ("1000", 1)
    assert "Task/List" not in raw.requests


@every_form
async def test_messages_of_the_socket(raw: RawWiro, form: Callable[[bytes], bytes]) -> None:
    """The text comes, and the socket stays open."""
    raw.ids = map(str, count(7000))

    async def speak(peer: Peer) -> None:
        await peer.accept_websocket()
        await peer.read_frame()
        message = {"type": "answer", "raw": "#bad# and more", "answer": ["#bad# and more"]}
        await peer.send_frame(broken(form, {"type": "task_output", "id": "7000", "message": message}))
        next(iter(raw.rows.values())).update(status="task_postprocess_end")
        await peer.send_event({"type": "task_postprocess_end", "id": "7000", "message": []})
        await peer.gone()

    async def run(peer: Peer) -> None:
        answer = raw.take_run("owner/model", peer.sent)
        raw.rows["7000"]["status"] = "task_start"
        await peer.respond_json(answer)

    raw.routes |= {"socket": speak, "Run": run}
    async with (
        AsyncWiro(**raw.options(), tuning=QUICK) as wiro,
        wiro.stream("owner/model", {"prompt": "x"}, timeout=5) as stream,
    ):
        said = "".join([delta.text async for delta in stream if isinstance(delta, TextDelta)])
    assert said.endswith("and more")
    assert raw.requests.count("socket") == 1


LINES = [name for name in FORMS if name not in ("control characters", "a warning before", "UTF-16")]  # have no line end


@pytest.mark.parametrize("form", [FORMS[name] for name in LINES], ids=LINES)
async def test_an_event_stream(raw: RawWiro, form: Callable[[bytes], bytes]) -> None:
    """The text comes, and the run is not lost."""

    async def speak(peer: Peer) -> None:
        answer = raw.take_run("owner/model", peer.sent)
        row = dict(raw.rows["1000"])
        raw.rows["1000"]["status"] = "task_start"
        content = {"type": "answer", "text": "#bad# and more"}
        events = [
            ("start", answer),
            ("task_output", {"id": answer["taskid"], "status": "task_output", "segments": [content]}),
            ("done", {"result": True, "tasklist": [{**row, "debugerror": "#bad#"}]}),
        ]
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for name, data in events:
            await peer.send(b"event: %s\ndata: %s\n\n" % (name.encode(), broken(form, data)))
            await asyncio.sleep(0.1)
            raw.rows["1000"]["status"] = row["status"] if name == "task_output" else raw.rows["1000"]["status"]
        peer.writer.close()

    raw.routes["Run"] = speak
    async with (
        AsyncWiro(**raw.options(), updates="sse", tuning=QUICK) as wiro,
        wiro.stream("owner/model", {"prompt": "x"}, timeout=5) as stream,
    ):
        said = "".join([delta.text async for delta in stream if isinstance(delta, TextDelta)])
    assert said.endswith("and more")
    assert len(raw.runs) == 1


@every_form
async def test_an_error(raw: RawWiro, raw_wiro: AsyncWiro, form: Callable[[bytes], bytes]) -> None:
    """It is told from an answer that was lost: the run is not searched for."""

    async def refuse(peer: Peer) -> None:
        error = {"code": 97, "message": "Insufficient balance #bad#"}
        await peer.respond(broken(form, {"result": False, "errors": [error]}))

    raw.routes["Run"] = refuse
    with pytest.raises(InsufficientBalanceError, match="Insufficient balance"):
        await raw_wiro.run("owner/model", {"prompt": "x"}, timeout=5)
    assert "Task/List" not in raw.requests


@every_form
async def test_a_model_and_an_upload(raw: RawWiro, raw_wiro: AsyncWiro, form: Callable[[bytes], bytes]) -> None:
    """Both are read."""
    row = {"slugowner": "owner", "slugproject": "model", "cleanslugowner": "owner", "cleanslugproject": "model"}
    file = {"id": "f1", "name": "a.png", "url": "https://x.test/a.png"}

    async def model(peer: Peer) -> None:
        await peer.respond(broken(form, {"result": True, "errors": [], "tool": [{**row, "description": "#bad#"}]}))

    async def upload(peer: Peer) -> None:
        await peer.respond(broken(form, {"result": True, "errors": [], "list": [{**file, "note": "#bad#"}]}))

    raw.routes |= {"Tool/Detail": model, "File/Upload": upload}
    assert (await raw_wiro.models.get("owner/model")).slug == "owner/model"
    assert (await raw_wiro.files.upload(File(b"x", "a.png"))).id == "f1"


@pytest.mark.parametrize("form", [FORMS[name] for name in FORMS if name not in ("text behind", "a warning before")])
async def test_a_callback(raw: RawWiro, raw_wiro: AsyncWiro, form: Callable[[bytes], bytes]) -> None:
    """The task that it names is confirmed."""
    receiver = WebhookReceiver(raw_wiro, on_end=lambda task: ended.append(task.id))
    ended: list[str] = []
    row = raw.make_task("owner/model", {})
    body = broken(form, {"tasklist": [{**row, "debugoutput": "#bad#"}]})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver)) as client:
        await client.post(receiver.url_for("https://my.app/wiro"), content=body)
    async with asyncio.timeout(3):
        while not ended:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert ended == ["1000"]
