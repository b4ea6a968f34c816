"""Phrases and what they are true of: the text side of the contrastive training."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from distillnerf_ros.taxonomy import OCC3D_CLASSES, SKY_LABEL
from distillnerf_ros.training import nouns

TRUE, FALSE, UNKNOWN = 1, 0, -1


@dataclasses.dataclass(frozen=True)
class Thing:
    """What is known of the thing a pixel shows.

    Attributes:
        label: Occ3D class, or ``SKY_LABEL``.
        kind: finer kind within the class ("pickup"), empty if not known.
        color: plain colour word, empty if not known.
    """

    label: int
    kind: str = ""
    color: str = ""


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A noun phrase and the things it is true of.

    Attributes:
        noun: without article.
        labels: classes it may be true of; empty for things the world never holds.
        kinds: if not empty, only these kinds.
        color: if not empty, only this colour.
    """

    noun: str
    labels: frozenset[int] = frozenset()
    kinds: frozenset[str] = frozenset()
    color: str = ""

    def truth(self, thing: Thing) -> int:
        """TRUE, FALSE or UNKNOWN of a thing."""
        if thing.label not in self.labels:
            return FALSE
        tests = [
            (not self.kinds, thing.kind, thing.kind in self.kinds),
            (not self.color, thing.color, thing.color == self.color),
        ]
        if any(not free and known and not holds for free, known, holds in tests):
            return FALSE
        return TRUE if all(free or holds for free, _, holds in tests) else UNKNOWN


def label_of(name: str) -> int:
    """Label of a class name, the sky included."""
    return SKY_LABEL if name == "sky" else OCC3D_CLASSES.index(name)


def _phrases(things: Sequence[Thing]) -> list[Phrase]:
    tabled = [
        Phrase(noun, frozenset(label_of(n) for n in names), frozenset(kinds))
        for names, kinds, words in nouns.NOUNS
        for noun in words
    ]
    # A wording of some kinds is no wording of the whole class ("jersey barrier"), nor of one kind.
    fine = {(p.noun, label) for p in tabled if p.kinds for label in p.labels}
    whole = [p for p in tabled if p.kinds or not any((p.noun, n) in fine for n in p.labels)]
    own = {(t.kind, t.label) for t in things if t.kind} - {
        (p.noun, label) for p in tabled for label in p.labels
    }
    named = [Phrase(kind, frozenset({label}), frozenset({kind})) for kind, label in sorted(own)]
    every = dict.fromkeys(whole + named)
    return [p for p in every if any(p.truth(thing) == TRUE for thing in things)]


def dressed(noun: str, rng: np.random.Generator) -> str:
    """A noun in one of its forms (bare, with an article, plural) in one of many sentences."""
    forms = [noun]
    if noun.split()[0] not in nouns.NO_ARTICLE:
        forms += [noun, f"the {noun}"]
        forms.append(f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}")
        forms.append(noun if noun.endswith("s") else plural(noun))
    template = nouns.TEMPLATES[rng.integers(len(nouns.TEMPLATES))]
    return template.format(forms[rng.integers(len(forms))])


def plural(noun: str) -> str:
    """Regular English plural."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s")


class PhraseBook:
    """Draws the texts of a training step and says which are true of which things.

    Attributes:
        present: every phrase the world can show.
        kinds: class and kind of everything whose kind has words of its own.
        kind_of: index into ``kinds`` of each thing, -1 for those without.
        generic: phrases that fit anything a little.
    """

    def __init__(self, things: Sequence[Thing]) -> None:
        """Take the things that may appear."""
        self.things = tuple(things)
        self.present = _phrases(things)
        self._names = [Phrase(n, frozenset({i})) for i, n in enumerate(OCC3D_CLASSES)]
        self._true = [
            [i for i, p in enumerate(self.present) if p.truth(thing) == TRUE] for thing in things
        ]
        self.generic = nouns.GENERIC_PHRASES
        found = {(t.label, t.kind): self._finest(t.label, t.kind) for t in things if t.kind}
        self._of_kind = {kind: phrases for kind, phrases in found.items() if phrases}
        self.kinds = tuple(self._of_kind)
        numbers = {kind: number for number, kind in enumerate(self.kinds)}
        self.kind_of = tuple(numbers.get((t.label, t.kind), -1) for t in things)

    def _finest(self, label: int, kind: str) -> list[Phrase]:
        """The phrases true of a kind and of the fewest others ("sedan": of taxis, too)."""
        true = [p for p in self.present if label in p.labels and kind in p.kinds]
        fewest = min((len(p.kinds) for p in true), default=0)
        return [p for p in true if len(p.kinds) == fewest]

    def draw_kinds(self, rng: np.random.Generator) -> list[Phrase]:
        """One wording of every kind, in the order of ``kinds``."""
        return [phrases[rng.integers(len(phrases))] for phrases in self._of_kind.values()]

    def draw(
        self, seen: Sequence[int], rng: np.random.Generator, per_thing: int, others: int
    ) -> list[Phrase]:
        """Phrases of one step: true ones for what is seen, and others.

        Args:
            seen: indices of the things in the batch.
            rng: the step's randomness.
            per_thing: true phrases per seen thing.
            others: phrases about anything the world can show.
        """
        drawn = list(self._names)
        for index in seen:
            true = self._true[index]
            for pick in rng.integers(len(true), size=per_thing) if true else ():
                drawn.append(self._colored(self.present[true[pick]], self.things[index], rng))
        drawn += [self.present[i] for i in rng.integers(len(self.present), size=others)]
        return list(dict.fromkeys(drawn))

    def draw_true(self, index: int, rng: np.random.Generator) -> list[Phrase]:
        """A phrase that is true of a thing, in a list that is empty if there is none."""
        true = self._true[index]
        return [self.present[true[rng.integers(len(true))]]] if true else []

    def draw_absent(self, rng: np.random.Generator, count: int) -> list[str]:
        """Texts about things the world never holds, some with a colour the world has."""
        words = nouns.ABSENT_NOUNS
        picked = [words[i] for i in rng.integers(len(words), size=count)]
        for i in range(0, count, 4):
            picked[i] = f"{nouns.COLORS[rng.integers(len(nouns.COLORS))]} {picked[i]}"
        return [dressed(noun, rng) for noun in picked]

    def _colored(self, phrase: Phrase, thing: Thing, rng: np.random.Generator) -> Phrase:
        if not thing.color or rng.random() < 0.6:
            return phrase
        if phrase.noun.split()[0] in nouns.NO_ARTICLE:
            return phrase
        noun = f"{thing.color} {phrase.noun}"
        return dataclasses.replace(phrase, noun=noun, color=thing.color)

    def truths(self, seen: Sequence[int], phrases: Sequence[Phrase]) -> np.ndarray:
        """(T, Q) int8 truth of every phrase for the things at the given indices."""
        rows = [[p.truth(self.things[index]) for p in phrases] for index in seen]
        return np.array(rows, dtype=np.int8).reshape(len(seen), len(phrases))

    def within_class(self, seen: Sequence[int], phrases: Sequence[Phrase]) -> np.ndarray:
        """(T, Q) bool: the phrase is about the thing's class, if not about this thing."""
        rows = [[self.things[index].label in p.labels for p in phrases] for index in seen]
        return np.array(rows, dtype=bool).reshape(len(seen), len(phrases))
