"""The words of the pages: every language says the same things, with the same places and all plural forms."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coordinator.transports.web import pages

_STATIC = Path(pages.__file__).parent / "static"
_LANGUAGES = ("en", "fr", "es")
_FOLDERS = sorted(path.parent.relative_to(_STATIC).as_posix() for path in _STATIC.glob("*/words/en.js"))
_PLACE = re.compile(r"\{(\w+)\}")
# The forms that the languages have for the numbers that occur: French and Spanish have another for millions.
_FORMS = {"one", "other"}
# Keys that stand in the code as they are; others are put together from a code, a kind or a state.
_USED = re.compile(r"""\b(?:t|hasWords)\(\s*["`]([\w.]+)["`]""")

Words = dict[str, str | dict[str, str]]


def _words(folder: str, language: str) -> Words:
    text = (_STATIC / folder / f"{language}.js").read_text(encoding="utf-8")
    script = text.replace("export default", "const words =") + ";\nprocess.stdout.write(JSON.stringify(words));"
    done = subprocess.run(
        ["node", "--input-type=module"], input=script, capture_output=True, text=True, timeout=60, check=True
    )
    found: Any = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def _texts(words: str | dict[str, str]) -> list[str]:
    return [words] if isinstance(words, str) else list(words.values())


@pytest.mark.parametrize("folder", _FOLDERS)
@pytest.mark.parametrize("language", _LANGUAGES)
def test_every_language_has_the_same_keys_and_places(folder: str, language: str) -> None:
    english, other = _words(folder, "en"), _words(folder, language)
    assert english.keys() == other.keys()
    for key, words in other.items():
        assert isinstance(words, dict) == isinstance(english[key], dict), key
        if isinstance(words, dict):
            assert words.keys() == _FORMS, key
        places = {frozenset(_PLACE.findall(text)) for text in [*_texts(words), *_texts(english[key])]}
        assert len(places) == 1, f"{key}: {places}"
        assert all(text.strip() == text and text for text in _texts(words)), key


@pytest.mark.parametrize("page", sorted({folder.split("/")[0] for folder in _FOLDERS} - {"shared"}))
def test_all_words_that_a_page_asks_for_are_there(page: str) -> None:
    known = _words("shared/words", "en").keys() | _words(f"{page}/words", "en").keys()
    for folder in (page, "shared"):
        for script in (_STATIC / folder).glob("*.js"):
            asked = set(_USED.findall(script.read_text(encoding="utf-8")))
            assert asked <= known, f"{script.name}: {asked - known}"
