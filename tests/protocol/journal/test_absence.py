"""What a list proves of a lost run."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from wiro_async._protocol.http.requests import RunInput
from wiro_async._protocol.journal.absence import Absent, Adopt, Listing, Others, Unproven, judge, may_be
from wiro_async._protocol.journal.record import Witness
from wiro_async._protocol.submission.intent import Intent, with_intent
from wiro_async._protocol.submission.journal_keys import short
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON
from wiro_async._records.task_info import TaskInfo

CALLBACK = with_intent("https://my.app/wiro", "0123456789abcdef")


def intent_of(prompt: str, callback_url: str | None = None, **more: object) -> Intent:
    """Return what a run is meant to be."""
    return Intent.of("owner/model", RunInput.parse({"prompt": prompt, "size": 4, **more}), callback_url)


def row(number: int | str, prompt: str, **fields: Any) -> TaskInfo:
    """Return a listed task."""
    raw: dict[str, JSON] = {
        "id": str(number),
        "socketaccesstoken": f"token-{number}",
        "modelslugowner": "owner",
        "modelslugproject": "model",
        "parameters": {"prompt": prompt, "size": "4"},
        "createtime": str(1_700_000_000 + number) if isinstance(number, int) else "",
        **fields,
    }
    return parse_task(raw)


def witness(number: int | str, prompt: str) -> Witness:
    """Return a later task of the journal."""
    return Witness(TaskRef(str(number), f"token-{number}"), short(intent_of(prompt).fingerprint), 9)


LOST = intent_of("lost cat")
OLD = row(10, "old dog")
NEWER = row(20, "newer dog")
OTHERS = Others({"20"}, [witness(20, "newer dog")])


@pytest.mark.parametrize(
    "rows, verdict",
    [
        ([NEWER, OLD], Absent),
        ([NEWER, row(15, "a bird"), OLD], Absent),
        ([NEWER, row(15, "lost cat"), OLD], Adopt),
        ([NEWER, row(9, "lost cat")], Absent),  # older
        ([row(25, "lost cat"), NEWER, OLD], Adopt),  # it arrived late
        ([NEWER, row(16, "lost cat"), row(15, "lost cat"), OLD], Unproven),
        ([NEWER, row(15, "lost cat", parameters={"prompt": "lost cat", "size": "4", "seed": "-1"}), OLD], Unproven),
        ([NEWER, row(15, "LOST  CAT"), OLD], Unproven),
        ([NEWER, row(15, "x", parameters={"prompt": "lost c\ufffdt", "size": "4", "seed": "-1"}), OLD], Unproven),
        ([NEWER, row(15, "lost cat", parameters=None), OLD], Unproven),
        ([NEWER, row(15, "lost cat", modelslugproject="Mo-del"), OLD], Unproven),
        ([NEWER, row(15, "lost cat", modelslugproject="another"), OLD], Absent),
        ([NEWER], Unproven),  # not read down to an id from before
        ([OLD, NEWER], Absent),
        ([row(15, "a bird"), NEWER, OLD], Unproven),  # in no order
        ([row(30, "a bird"), OLD], Unproven),  # the witness is missing
        ([row(20, "newer dog", parameters={"prompt": "newer dog", "size": "4", "seed": "-1"}), OLD], Unproven),
        ([row("ab-cd", "a bird"), NEWER, OLD], Unproven),
        ([], Unproven),
    ],
)
def test_lists(rows: list[TaskInfo], verdict: type) -> None:
    """With a witness, and an id from before."""
    assert type(judge(LOST, 10, Listing(tuple(rows)), OTHERS)) is verdict


@pytest.mark.parametrize(
    "changes, found, missing",
    [
        ({"witnesses": ()}, Adopt, Unproven),
        ({"witnesses": [witness(10, "old dog")]}, Unproven, Unproven),  # ids do not run upward
        ({"witnesses": [witness("uuid", "newer dog")]}, Unproven, Unproven),
        ({"ids_run_upward": False}, Unproven, Unproven),
        ({"are_settled": False}, Unproven, Absent),
        ({"is_one_request": False}, Unproven, Absent),
        ({"claimed": ["20", "15"]}, Absent, Absent),
        ({"claimed": ["20", "token-15"]}, Absent, Absent),
        ({"rivals": 2}, Adopt, Absent),
    ],
)
def test_what_else_is_known(changes: dict[str, Any], found: type, missing: type) -> None:
    """Of other runs, and of the order of ids."""
    others = attrs.evolve(OTHERS, **changes)
    assert type(judge(LOST, 10, Listing((NEWER, row(15, "lost cat"), OLD)), others)) is found
    assert type(judge(LOST, 10, Listing((NEWER, OLD)), others)) is missing


def test_without_an_id_from_before_nothing_is_proven() -> None:
    """An equal task may be old. It is a candidate."""
    verdict = judge(LOST, None, Listing((NEWER, row(15, "lost cat"), OLD)), OTHERS)
    assert isinstance(verdict, Unproven)
    assert [task.id for task in verdict.candidates] == ["15"]
    assert isinstance(judge(LOST, None, Listing((NEWER, OLD)), OTHERS), Unproven)


def test_without_a_witness_ids_must_follow_the_times() -> None:
    """Otherwise an equal old task could have the larger id."""
    alone = Others()
    assert isinstance(judge(LOST, 10, Listing((row(15, "lost cat"), OLD)), alone), Adopt)
    for times in ("1600000000", "", "1700000010"):
        rows = (row(15, "lost cat", createtime=times), OLD)
        assert isinstance(judge(LOST, 10, Listing(rows), alone), Unproven)


@pytest.mark.parametrize(
    "fields, verdict",
    [
        ({"oldest_id": "20"}, Absent),
        ({"oldest_id": "15"}, Unproven),  # the list was cut off
        ({"oldest_id": None}, Unproven),
        ({"oldest_id": "20", "has_end": False}, Unproven),
        ({"oldest_id": "20", "is_contiguous": False}, Unproven),
    ],
)
def test_an_account_that_had_no_task(fields: dict[str, Any], verdict: type) -> None:
    """Its whole list must have been read."""
    assert type(judge(LOST, 0, Listing((NEWER,), **fields), OTHERS)) is verdict


def test_the_id_in_a_callback_url_is_certain() -> None:
    """Nobody else knows it, so nothing else matters; and a task with another one is another run's."""
    lost = intent_of("lost cat", CALLBACK)
    echoed = row("any", "in another form", callbackurl=CALLBACK.replace("&", "&amp;"))
    assert judge(lost, None, Listing((echoed,)), Others()) == Adopt(TaskRef("any", "token-any"))
    other = row(15, "lost cat", callbackurl=with_intent("https://my.app/wiro", "f" * 16))
    assert isinstance(judge(lost, 10, Listing((NEWER, other, OLD)), OTHERS), Absent)


@pytest.mark.parametrize(
    "value, echo, is_near",
    [
        ("a cat & a dog", "a cat &amp; a dog", True),
        ("a cat\nand a dog", "a cat and a dog", True),
        ("a long text that was cut off", "a long text that was", True),
        ("a long text", "another one", False),
        ("item 1", "item 10", False),
        (0.3, "0.30000000000000004", True),
        (4, "4.0", True),
        (4, "5", False),
        (True, "false", False),
        (None, "x", True),
        ("x", "", True),
        (["a", "b"], '["a","b"]', True),
    ],
)
def test_doubt(value: object, echo: str, is_near: bool) -> None:
    """What may be the same value in another form."""
    lost = intent_of("lost cat", x=value)
    listed = row(15, "lost cat", parameters={"prompt": "lost cat", "size": "4", "X": echo})
    assert may_be(lost, listed) is is_near


def ids_of(verdict: Unproven) -> list[str]:
    """The ids of the candidates."""
    return [task.id for task in verdict.candidates]


EXACT = row(15, "lost cat")
DIFFERENT = row(15, "LOST CAT")
UPWARD = "the ids of this account's tasks do not run upward"
NO_WITNESS = "no later run with the same parameters shows how the service lists them"


@pytest.mark.parametrize(
    "last_id, rows, changes, reason, candidates",
    [
        (None, (NEWER, EXACT, OLD), {}, "no task was known before it was sent", ["15"]),
        (10, (NEWER, EXACT, OLD), {"ids_run_upward": False}, UPWARD, ["15"]),
        (None, (NEWER, EXACT, OLD), {"ids_run_upward": False}, UPWARD, ["15"]),
        (10, (NEWER, EXACT, OLD), {"witnesses": [witness("uuid", "newer dog")]}, UPWARD, ["15"]),
        (20, (NEWER, row(25, "lost cat")), {}, UPWARD, ["25"]),
        (
            10,
            (NEWER, EXACT),
            {},
            "the service's list of tasks could not be read down to tasks that are older",
            ["15"],
        ),
        (10, (NEWER, OLD), {"witnesses": ()}, NO_WITNESS, []),
        (10, (EXACT, OLD), {"witnesses": [witness(20, "newer dog")]}, None, None),
        (10, (row(15, "a bird"), OLD), {}, "the service's list of tasks is not complete", []),
        (
            10,
            (row(20, "NEWER dog"), OLD),
            {"witnesses": [witness(20, "another dog")]},
            "the service lists parameters in a form of its own",
            [],
        ),
        (
            10,
            (NEWER, row(16, "lost cat"), DIFFERENT, OLD),
            {},
            "tasks in the list may be its own, but their parameters differ in form",
            ["16", "15"],
        ),
        (10, (NEWER, EXACT, OLD), {"are_settled": False}, "a run that looks the same is being sent", ["15"]),
        (10, (NEWER, EXACT, OLD), {"is_one_request": False}, "several tasks or requests look the same", ["15"]),
        (10, (NEWER, row(16, "lost cat"), EXACT, OLD), {}, "several tasks or requests look the same", ["16", "15"]),
        (10, (OLD, EXACT), {"witnesses": ()}, NO_WITNESS, ["15"]),  # oldest first: the newest may be missing
        (
            10,
            (row(15, "lost cat", createtime=""), OLD),
            {"witnesses": ()},
            "nothing shows yet that newer tasks have larger ids",
            ["15"],
        ),
    ],
)
def test_reasons(
    last_id: int | None,
    rows: tuple[TaskInfo, ...],
    changes: dict[str, Any],
    reason: str | None,
    candidates: list[str] | None,
) -> None:
    """The verdict says why nothing is proven, and which tasks may be the run's. The user reads both."""
    verdict = judge(LOST, last_id, Listing(rows), attrs.evolve(OTHERS, **changes))
    if reason is None:
        assert verdict == Adopt(TaskRef("15", "token-15"))
    else:
        assert isinstance(verdict, Unproven)
        assert (verdict.reason, ids_of(verdict)) == (reason, candidates)


@pytest.mark.parametrize(
    "last_id, changes, is_adopted",
    [
        (0, {"witnesses": ()}, True),  # the account had no task, so it cannot be an older one
        (1, {"witnesses": ()}, False),
        (1, {"witnesses": (), "ids_run_upward": True}, True),
        (1, {}, True),
    ],
)
def test_what_shows_that_newer_tasks_have_larger_ids(last_id: int, changes: dict[str, Any], is_adopted: bool) -> None:
    """Any of four things, where the times say nothing."""
    rows = (NEWER, row(15, "lost cat", createtime=""), row(1, "old dog", createtime=""))
    listing = Listing(rows if last_id else rows[:2], oldest_id="15" if last_id == 0 else None)
    verdict = judge(LOST, last_id, listing, attrs.evolve(OTHERS, **changes))
    assert isinstance(verdict, Adopt) is is_adopted


def test_times_that_are_all_equal_show_nothing() -> None:
    """Only a difference says which task came first; equal times among different ones are no contradiction."""
    times = ("1700000001", "1700000001", "1700000002")
    rows = tuple(
        row(id_, text, createtime=time)
        for id_, text, time in zip((10, 11, 15), ("a", "b", "lost cat"), times, strict=True)
    )
    assert isinstance(judge(LOST, 10, Listing(rows[::-1]), Others()), Adopt)
    equal = tuple(row(id_, text, createtime="1700000001") for id_, text in ((15, "lost cat"), (10, "a")))
    assert isinstance(judge(LOST, 10, Listing(equal), Others()), Unproven)


def test_the_oldest_of_equal_tasks_is_adopted() -> None:
    """Runs that look alike take theirs in order, also where ids have different lengths or are no numbers."""
    rows = (NEWER, row(16, "lost cat"), EXACT, row(9, "old dog"))
    assert judge(LOST, 9, Listing(rows), attrs.evolve(OTHERS, rivals=2)) == Adopt(TaskRef("15", "token-15"))
    rows = (row(200, "newer dog"), row(100, "lost cat"), row(99, "lost cat"), row(9, "old dog"))
    others = attrs.evolve(OTHERS, claimed=["200"], witnesses=[witness(200, "newer dog")], rivals=2)
    assert judge(LOST, 9, Listing(rows), others) == Adopt(TaskRef("99", "token-99"))
    lost = intent_of("lost cat", CALLBACK)
    named = tuple(row(id_, "x", callbackurl=CALLBACK) for id_ in ("b", "a", "cc"))
    assert judge(lost, None, Listing(named), Others()) == Adopt(TaskRef("a", "token-a"))


def test_a_task_of_the_last_id_is_older() -> None:
    """It was known before the run was sent."""
    rows = (NEWER, row(10, "lost cat"), row(9, "old dog"))
    assert isinstance(judge(LOST, 10, Listing(rows), OTHERS), Absent)


def test_a_witness_without_an_id_is_not_found_under_an_empty_one() -> None:
    """A row without an id is none of the journal's."""
    nameless = row("", "newer dog")
    others = attrs.evolve(OTHERS, witnesses=[attrs.evolve(witness(20, "newer dog"), ref=TaskRef(None, "token-20"))])
    assert isinstance(judge(LOST, 10, Listing((nameless, OLD)), others), Unproven)


@pytest.mark.parametrize(
    "lost_url, echoed_url, is_near",
    [
        (None, None, True),
        (None, CALLBACK, False),
        (CALLBACK, None, True),
        (CALLBACK, CALLBACK, True),
        (CALLBACK, CALLBACK.replace("&", "&amp;"), True),
        (CALLBACK, "https://my.app/wiro?x=1&amp;wiro_intent=0123456789abcdef", True),
        (CALLBACK, with_intent("https://my.app/wiro", "f" * 16), False),
        (None, "https://my.app/wiro", True),  # it has no id, so it says nothing
        (None, "http://[", True),
    ],
)
def test_doubt_by_callback_urls(lost_url: str | None, echoed_url: str | None, is_near: bool) -> None:
    """Another run's id in the URL excludes a task."""
    fields = {} if echoed_url is None else {"callbackurl": echoed_url}
    assert may_be(intent_of("lost cat", lost_url), row(15, "lost cat", **fields)) is is_near


@pytest.mark.parametrize(
    "value, echo, is_near",
    [
        ("", "x", True),
        ("x" * 16 + " and more", "x" * 16, True),
        ("x" * 15 + " and more", "x" * 15, False),
        ("x" * 16, "x" * 16 + " and more", True),
        (1.0, "1.000009", True),
        (1.0, "1.00001", True),
        (1.0, "1.00002", False),
        (1_000_000, "1000009", True),
        (1_000_000, "1000020", False),
        ("A  b", "a b", True),
        ("a b", "ab", False),
    ],
)
def test_the_edges_of_doubt(value: object, echo: str, is_near: bool) -> None:
    """A cut text shares sixteen letters, and numbers five digits."""
    lost = intent_of("lost cat", x=value)
    assert may_be(lost, row(15, "lost cat", parameters={"prompt": "lost cat", "size": "4", "x": echo})) is is_near


def test_names_of_models_and_parameters_are_compared_by_their_letters() -> None:
    """The service may write them in another way."""
    listed = row(15, "lost cat", modelslugproject="Mo_Del", parameters={"Pro-mpt": "a bird", "size": "4"})
    assert not may_be(LOST, listed)
    assert may_be(LOST, row(15, "lost cat", modelslugproject="Mo_Del", parameters={"Pro-mpt": "lost cat"}))
    assert not may_be(LOST, row(15, "lost cat", modelslugproject="models"))


@pytest.mark.parametrize(
    "ids, order",
    [
        ((3, 2, 1), "newest first"),
        ((1, 2, 3), "oldest first"),
        ((1, 3, 2), None),
        ((2, 2), None),
        ((0,), "newest first"),
        ((), "newest first"),
        (("x", 1), None),
        ((1, "x"), None),
    ],
)
def test_the_order_of_a_list(ids: tuple[int | str, ...], order: str | None) -> None:
    """By its ids. A list that is in both orders counts as newest first."""
    assert Listing(tuple(row(number, "x") for number in ids)).order == order


@pytest.mark.parametrize(
    "ids, fields, bound, reaches",
    [
        ((20, 10), {}, 10, True),
        ((20, 11), {}, 10, False),
        ((20, 11), {"oldest_id": "11"}, 10, True),
        ((20, 11), {"oldest_id": "12"}, 10, False),
        ((20, 11), {"oldest_id": "11", "has_end": False}, 10, False),
        ((20, 10), {"has_end": False}, 10, True),
        ((20, 10), {"is_contiguous": False}, 10, False),
        ((10, 20), {}, 10, True),
        ((10, 20), {"has_end": False}, 10, False),
        ((11, 20), {}, 10, False),
        ((11, 20), {"oldest_id": "11"}, 10, True),
        ((), {}, 0, False),
        ((20, 10, 15), {}, 10, False),
    ],
)
def test_how_far_a_list_reaches(ids: tuple[int, ...], fields: dict[str, Any], bound: int, reaches: bool) -> None:
    """It must be read down to the bound without a gap, or to its end, which is shown from the other side."""
    assert Listing(tuple(row(number, "x") for number in ids), **fields).reaches(bound) is reaches
