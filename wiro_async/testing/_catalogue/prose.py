"""Prose for the emulator's language models: some thinking, then a short answer about the prompt.

`compose` is deterministic: the hash of the prompt selects the phrases. The text has accents, dashes, curly quotes and
sometimes an emoji, so that it exercises a client's UTF-8.
"""

from __future__ import annotations

import random
import re

_SMALL_TALK = frozenset(
    """
    haiku essay song joke letter a an the please can could you me us to in on at for of and or is are
    was what who how why when which that this tell explain describe write give show make let i my your
    we do does did about some with sentence sentences words word short poem story paragraph line lines
    summarise summarize list so it be would should one two three four five ten look looks like make
    makes mean means work works feel feels need get go come happen happens from
    """.split()
)
_BRIDGES = ("of", "and", "the")  # words that join two words into one subject

_THINKING = (
    "The question is about {subject}. Before saying anything clever I should find the one idea the rest "
    "hangs from. A definition would be dry; a picture is better. I could begin with something seen every "
    "day, move on to why it matters, and leave one small surprise – naïve questions deserve those – for "
    "the end.",
    "So: {subject}. There are two ways in, the textbook one and the one a friend would use over a café "
    "table. The second is kinder. I will keep the sentences short, avoid jargon, offer a single concrete "
    "example, and check that the ending answers what was asked rather than what I happen to know.",
    "Let me weigh {subject} for a moment. Too much detail and the thread is lost; too little and it is a "
    "cliché. Three steps should do: what it is, what it feels like up close, what to do next. I had "
    "better be honest about the limits, too, because half of any good answer is knowing where it stops.",
    "What would somebody asking about {subject} want to take away? Probably not a list. I will look for a "
    "comparison that holds up under a second look, say plainly where it breaks, and end with something "
    "useful. About a hundred words is enough – brevity is a courtesy, and the reader’s coffee is getting "
    "cold.",
)

_OPENINGS = (
    "Think of {subject} as a well-kept garden: at first glance everything simply grows, and only later do "
    "you notice the paths. Somebody decided where the light should fall, what to leave wild, and which "
    "gate to keep unlocked.",
    "The shortest honest answer about {subject} is “it depends” – but on surprisingly few things. Once "
    "you know which two or three of them matter, the rest falls into place the way furniture does after "
    "the piano has been moved.",
    "Here is a way into {subject} that needs no preparation. Picture a small café at seven in the "
    "morning: the chairs still stacked, one lamp on, the first kettle beginning to sing. Everything that "
    "will happen is already in the room.",
    "People tend to make {subject} sound harder than it is. Strip away the vocabulary and a simple "
    "pattern remains, one a patient child could draw: a line, a pause, and then the same line again, "
    "slightly changed.",
    "Every good explanation of {subject} starts with a confession: nobody understood it the first time. "
    "The second time is better, and by the third it feels as if it had always been obvious – a curious, "
    "rather lovely déjà vu.",
)

_MIDDLES = (
    "Up close, the details do the work. A tenth of a second here, a warmer colour there, and the whole "
    "changes character. That is why experienced people move slowly at the start: they are not hesitating, "
    "they are listening. Most mistakes come from answering a question that nobody had asked yet.",
    "What makes it interesting is the tension in the middle. On one side there is order – measured, "
    "repeatable, a bit prim. On the other, chance, humming to itself like a stranger on a train. Neither "
    "wins for long, and the good part happens in the narrow strip where they meet.",
    "If you want to see it for yourself, try a small experiment. Take one part away and notice what you "
    "miss. Put it back, take another. After four or five rounds you will have a map far better than any I "
    "could sketch, and it will be drawn in your own hand.",
    "There is a practical side as well. Start with the smallest version that could possibly please you, "
    "finish it, and only then make it larger. A modest thing that works is worth three grand ones that "
    "almost do – an old rule, and still the cheapest advice around.",
)

_CLOSINGS = (
    "So next time {subject} comes up, you can skip the jargon and ask the better question – “what would "
    "change if it were not there?” The answer is usually where the story begins.",
    "As for {subject}, keep your curiosity and lose the hurry. The rest – as a very old gardener once "
    "told a very young one – is mostly watering. {emoji}",
    "In short: look twice, change one thing at a time, and let {subject} surprise you – it nearly always will. {emoji}",
    "And if somebody asks you to sum up {subject} in a word, try “patience”. If they allow two, add “light”. {emoji}",
)

_EMOJI = ("🌿", "✨", "☕", "🌅", "🎈", "🔭", "🧭")


def subject_of(prompt: str) -> str:
    """Return the first words of the prompt that carry meaning, with their article."""
    words = re.findall(r"[^\W_]+(?:[-'’][^\W_]+)*", prompt)
    small = [word.casefold() in _SMALL_TALK for word in words]
    if all(small):
        return " ".join(words[:5]) or "the unsaid"
    first = last = small.index(False)
    for at in range(first + 1, min(first + 6, len(words))):
        if small[at] and words[at] not in _BRIDGES:
            break
        last = last if small[at] else at
    if first and words[first - 1].casefold() in ("a", "an", "the"):
        words[first - 1] = words[first - 1].casefold()
        first -= 1
    return " ".join(word[:24] for word in words[first : last + 1])


def _chunks(text: str, rng: random.Random) -> list[str]:
    """Split the text into pieces of one or two words, each with the space before it, as models send them."""
    words = re.findall(r"\s*\S+", text)
    pieces: list[str] = []
    while words:
        count = 1 if rng.random() < 0.8 else 2
        pieces.append("".join(words[:count]))
        del words[:count]
    return pieces


def compose(prompt: str) -> tuple[list[str], list[str]]:
    """Return the chunks of the thinking and of the answer. Each list, joined, is clean prose."""
    rng = random.Random(b"words|" + prompt.encode("utf-8", "surrogatepass"))
    facts = {"subject": subject_of(prompt), "emoji": rng.choice(_EMOJI)}
    parts = [rng.choice(choices) for choices in (_OPENINGS, _MIDDLES, _CLOSINGS)]
    answer = "\n\n".join(part.format(**facts) for part in parts)
    return _chunks(rng.choice(_THINKING).format(**facts), rng), _chunks(answer, rng)
