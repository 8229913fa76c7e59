"""The words of rendered pages: scripts, sentences, seeds."""

from __future__ import annotations

import unicodedata
from random import Random

import pytest

from physgan.data.text import words

PREFIX = {"latin": "LATIN", "greek": "GREEK", "cyrillic": "CYRILLIC"}


@pytest.mark.parametrize("language", words.WORDS)
def test_every_word_is_written_in_its_languages_script(language: str) -> None:
    prefix = PREFIX[words.script_of(language)]
    for word in words.WORDS[language]:
        assert all(unicodedata.name(letter).startswith(prefix) for letter in word), word


def test_languages_come_in_the_scripts_that_are_asked_for() -> None:
    rng = Random(0)
    drawn = {words.draw_language(rng, frozenset({"latin"})) for _ in range(300)}
    assert drawn == {language for language in words.WORDS if words.script_of(language) == "latin"}
    every = frozenset(PREFIX)
    assert {words.draw_language(rng, every) for _ in range(600)} == set(words.WORDS)


@pytest.mark.parametrize("language", words.WORDS)
def test_sentences_begin_and_end_as_sentences_do(language: str) -> None:
    rng = Random(1)
    for _ in range(200):
        tokens = words.sentence(language, rng)
        assert 5 <= len(tokens) <= 30
        assert tokens[0][0] == tokens[0][0].upper()
        assert tokens[-1][-1] in ".?!"
        assert all(token and " " not in token for token in tokens)


def test_a_seed_gives_the_same_sentences() -> None:
    assert words.sentence("en", Random(3)) == words.sentence("en", Random(3))
    assert words.sentence("en", Random(3)) != words.sentence("en", Random(4))


def test_common_words_come_oftener_than_rare_ones() -> None:
    rng = Random(2)
    half = set(words.WORDS["en"][: len(words.WORDS["en"]) // 2])
    drawn = [words.word("en", rng) for _ in range(2000)]
    assert 0.55 < sum(word in half for word in drawn) / len(drawn) < 0.75


def test_numbers_are_printed_in_many_ways() -> None:
    rng = Random(5)
    drawn = {words.number(rng) for _ in range(500)}
    assert len(drawn) > 300
    assert any("%" in n for n in drawn)
    assert any("," in n for n in drawn)
    assert any(n.startswith("−") for n in drawn)
