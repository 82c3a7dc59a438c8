"""Snapshots of growing text become deltas."""

import random

from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.messages.text_accumulator import TextAccumulator, TextChange
from wiro_async._protocol.messages.text_snapshot import KINDS, TextSnapshot, join_surrogates

WHOLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=60)


def joined(changes: list[TextChange]) -> dict[str, str]:
    """Return the text of a reader that joins deltas and clears at resets."""
    text: dict[str, str] = dict.fromkeys(KINDS, "")
    for change in changes:
        text[change.kind] = "" if change.reset else text[change.kind] + change.text
        assert change.reset != bool(change.text)
        change.text.encode()  # no half of a character is ever given
    return text


def accumulated(accumulator: TextAccumulator, snapshots: list[TextSnapshot], is_last: bool = False) -> dict[str, str]:
    """Return the text of a reader of all snapshots. The last one may be the end."""
    changes = []
    for number, snapshot in enumerate(snapshots, 1):
        changes += accumulator.update(snapshot, is_last and number == len(snapshots))
    return joined(changes)


@given(WHOLE, st.lists(st.integers(0, 60)), st.randoms(use_true_random=False))
def test_growing_text_comes_once(text: str, cuts: list[int], rng: random.Random) -> None:
    """In any order, with repeats and gaps, the deltas make up the text, without a reset."""
    snapshots = [TextSnapshot("", text[:cut]) for cut in cuts]
    rng.shuffle(snapshots)
    accumulator = TextAccumulator()
    changes = [change for snapshot in snapshots for change in accumulator.update(snapshot)]
    changes += accumulator.update(TextSnapshot("", text), is_last=True)
    assert "".join(change.text for change in changes) == text
    assert not any(change.reset for change in changes)


@given(st.lists(st.tuples(st.text(), st.text())))
def test_deltas_since_the_last_reset_are_the_text(texts: list[tuple[str, str]]) -> None:
    """The text of a reader equals the accumulator's, whatever the model takes back."""
    accumulator = TextAccumulator()
    assert accumulated(accumulator, [TextSnapshot(*pair) for pair in texts]) == {
        "thinking": accumulator.thinking,
        "answer": accumulator.answer,
    }


@given(st.lists(st.text(), min_size=1))
def test_the_last_text_counts(texts: list[str]) -> None:
    """Whatever came before, even if it is a prefix of that, or empty."""
    assert (
        accumulated(TextAccumulator(), [TextSnapshot(text, text) for text in texts], is_last=True)["answer"]
        == texts[-1]
    )


def test_a_shorter_last_text() -> None:
    """The final text drops what came after it."""
    accumulator = TextAccumulator()
    accumulator.update(TextSnapshot("hm", "Done.\n"))
    assert accumulator.update(TextSnapshot("hm", "Done.")) == []
    assert accumulator.update(TextSnapshot("hm", "Done."), is_last=True) == [
        TextChange("answer", "", 0, reset=True),
        TextChange("answer", "Done.", 1),
    ]
    assert accumulator.update(TextSnapshot("", "Done."), is_last=True) == [TextChange("thinking", "", 0, reset=True)]


def test_removed_text_does_not_return() -> None:
    """A late snapshot of the text before the rewrite is ignored. A longer one is a new text."""
    accumulator = TextAccumulator()
    for text in ("Once upon", "Once upon a time", "In the"):
        accumulator.update(TextSnapshot("", text))
    assert accumulator.update(TextSnapshot("", "Once upon a")) == []
    assert accumulator.update(TextSnapshot("", "In the beginning")) == [TextChange("answer", " beginning", 1)]
    assert (
        joined(accumulator.update(TextSnapshot("", "Once upon a time, there")))["answer"] == "Once upon a time, there"
    )


@given(WHOLE)
def test_no_character_is_split(text: str) -> None:
    """Snapshots cut within a character, as bytes or as UTF-16, cause no reset and no half characters."""
    data, units = text.encode(), text.encode("utf-16-le")
    by_bytes = [TextSnapshot("", data[:end].decode(errors="replace")) for end in range(len(data) + 1)]
    by_units = [
        TextSnapshot("", units[:end].decode("utf-16-le", errors="surrogatepass")) for end in range(0, len(units) + 1, 2)
    ]
    for snapshots in (by_bytes, by_units):
        accumulator = TextAccumulator()
        changes = [change for snapshot in snapshots for change in accumulator.update(snapshot)]
        assert joined(changes)["answer"] == text
        assert not any(change.reset for change in changes)


@given(st.lists(st.text(st.characters(), max_size=5), max_size=10))
def test_halves_of_characters_in_the_middle(pieces: list[str]) -> None:
    """Text with unpaired surrogates is sent on, and is equal in pieces."""
    texts = ["".join(pieces[:end]) for end in range(len(pieces) + 1)]
    answer = accumulated(TextAccumulator(), [TextSnapshot("", text) for text in texts], is_last=True)["answer"]
    assert answer == join_surrogates(texts[-1])


def test_whole() -> None:
    """Join surrogate pairs, and drop unpaired ones."""
    assert join_surrogates("a\ud83d\ude00b\ude00c\ud83d") == "a😀b\ufffdc\ufffd"


def test_a_text_that_ends_in_a_replacement_character() -> None:
    """It is yielded at the end, when it can no longer change."""
    accumulator = TextAccumulator()
    assert [change.text for change in accumulator.update(TextSnapshot("", "a\ufffd"))] == ["a"]
    assert [change.text for change in accumulator.update(TextSnapshot("", "a\ufffd"), is_last=True)] == ["\ufffd"]


def test_a_reset() -> None:
    """It clears the text of its kind only."""
    accumulator = TextAccumulator()
    accumulator.update(TextSnapshot("thought", "one"))
    reset, piece = accumulator.update(TextSnapshot("thought", "two"))
    assert (reset.kind, reset.reset, piece.text, piece.reset) == ("answer", True, "two", False)
    assert (accumulator.thinking, accumulator.answer) == ("thought", "two")


def timeline(*segments: tuple[str, str]) -> TextSnapshot:
    """A snapshot of a timeline."""
    snapshot = TextSnapshot.from_wire({"segments": [{"type": kind, "text": text} for kind, text in segments]})
    assert snapshot is not None
    return snapshot


def test_places_in_the_timeline() -> None:
    """Each piece has the index of its segment, in order, even if several arrive at once."""
    accumulator = TextAccumulator()
    assert accumulator.update(timeline(("thinking", "hm"), ("answer", "O"))) == [
        TextChange("thinking", "hm", 0),
        TextChange("answer", "O", 1),
    ]
    new = timeline(("thinking", "hm"), ("answer", "One."), ("function_call", "f"), ("thinking", "so"), ("answer", "2"))
    assert accumulator.update(new) == [
        TextChange("answer", "ne.", 1),
        TextChange("thinking", "so", 3),
        TextChange("answer", "2", 4),
    ]
    assert [(piece.text, piece.index) for piece in accumulator.snapshot()] == [
        ("hm", 0),
        ("One.", 1),
        ("so", 3),
        ("2", 4),
    ]


def test_places_of_a_wrapped_answer() -> None:
    """The tags do not count."""
    accumulator = TextAccumulator()
    accumulator.update(timeline(("answer", "<answer>One"), ("thinking", "hm"), ("answer", "Two</answer>")))
    assert [(piece.text, piece.index) for piece in accumulator.snapshot()] == [("One", 0), ("hm", 1), ("Two", 2)]


def test_places_of_older_models() -> None:
    """One place for each kind."""
    assert [change.index for change in TextAccumulator().update(TextSnapshot("hm", "a"))] == [0, 1]


def test_a_character_over_two_segments() -> None:
    """Its two halves are yielded together, at the place of the first."""
    accumulator = TextAccumulator()
    assert accumulator.update(timeline(("answer", "a\ud83d"))) == [TextChange("answer", "a", 0)]
    halves = timeline(("answer", "a\ud83d"), ("thinking", "hm"), ("answer", "\ude00b"))
    assert accumulator.update(halves, is_last=True) == [
        TextChange("answer", "😀", 0),
        TextChange("thinking", "hm", 1),
        TextChange("answer", "b", 2),
    ]


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.text(st.sampled_from("ab\ud83d\ude00"), max_size=4)), max_size=6))
def test_timelines_with_halves_of_characters(segments: list[tuple[str, str]]) -> None:
    """For any segments, the deltas make up the text."""
    snapshot = TextSnapshot.from_wire({"segments": [{"type": kind, "text": text} for kind, text in segments]})
    if snapshot is not None:
        accumulator = TextAccumulator()
        assert joined(accumulator.update(snapshot) + accumulator.update(snapshot, is_last=True)) == {
            "thinking": join_surrogates(snapshot.thinking),
            "answer": join_surrogates(snapshot.answer),
        }
