"""The emulator's prose: deterministic, readable, about the prompt, and never only ASCII."""

from hypothesis import given
from hypothesis import strategies as st

from wiro_async.testing._catalogue import prose

any_prompt = st.text(st.characters(codec=None), max_size=80)


@given(any_prompt)
def test_the_same_prompt_gives_the_same_words(prompt: str) -> None:
    """Composing is a pure function."""
    assert prose.compose(prompt) == prose.compose(prompt)


@given(any_prompt)
def test_chunks_join_to_clean_prose(prompt: str) -> None:
    """No empty chunks, no extra spaces, the right length, valid UTF-8 and not only ASCII."""
    for chunks, shortest, longest in zip(prose.compose(prompt), (40, 85), (75, 155), strict=True):
        text = "".join(chunks)
        assert all(chunks)
        assert text == text.strip()
        assert "  " not in text
        assert "{" not in text
        assert shortest <= len(text.split()) <= longest
        assert text.encode() != text.encode("ascii", "ignore")


@given(any_prompt)
def test_the_answer_has_three_paragraphs(prompt: str) -> None:
    """An empty line separates paragraphs."""
    assert len("".join(prose.compose(prompt)[1]).split("\n\n")) == 3


def test_the_answer_names_the_subject() -> None:
    """The subject occurs in the thinking and in the answer."""
    thinking, answer = prose.compose("Explain qubits in two sentences, please")
    assert "qubits" in "".join(thinking)
    assert "qubits" in "".join(answer)


def test_the_subject_is_the_first_thing_named() -> None:
    """Instructions are left out, articles and joined words are kept."""
    subjects = {
        "Why does the sea look blue from a hill?": "the sea",
        "Explain the theory of relativity in two sentences": "the theory of relativity",
        "A lighthouse": "a lighthouse",
        "hello": "hello",
    }
    assert {prompt: prose.subject_of(prompt) for prompt in subjects} == subjects


def test_a_prompt_without_a_subject_is_answered() -> None:
    """Prompts with only punctuation, nothing, or only small words get an answer."""
    assert "the unsaid" in "".join(prose.compose("?!")[1])
    assert "the unsaid" in "".join(prose.compose("")[1])
    assert "what is it" in "".join(prose.compose("what is it")[1])


def test_prompts_vary_the_text() -> None:
    """Thirty prompts about one subject give more than twenty answers."""
    answers = {"".join(prose.compose(f"rain {'!' * count}")[1]) for count in range(30)}
    assert len(answers) > 20


def test_chunks_are_small() -> None:
    """Dozens of pieces of at most two words, so that streaming is visible."""
    _, answer = prose.compose("Why is the sky blue?")
    assert len(answer) > 60
    assert max(len(chunk.split()) for chunk in answer) <= 2
