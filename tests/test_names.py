"""Names use the words of the glossary, so that a search for the usual term finds its place."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.names import (
    PACKAGES,
    REPOSITORY,
    class_names,
    known_words,
    module_names,
    unknown_words,
    words_of,
)

# Metaphors that this code once used; none of them comes back in any name, also not in the tests.
METAPHORS = frozenset(
    {
        "bursar",
        "cashier",
        "clerk",
        "deaf",
        "escort",
        "mouth",
        "outlook",
        "porch",
        "postman",
        "purse",
        "reign",
        "roster",
        "seat",
        "tableau",
        "warden",
        "whereabouts",
        "yard",
    }
)


def test_modules_use_words_of_the_glossary():
    """A module's or package's name has no word that docs/glossary.md does not list."""
    assert unknown_words(module_names()) == []


def test_classes_use_words_of_the_glossary():
    """A class's name has no word that docs/glossary.md does not list."""
    assert unknown_words(class_names()) == []


def identifiers() -> Iterator[tuple[str, str]]:
    """Path and name of everything that is defined anywhere, tests included."""
    for package in (*PACKAGES, "tests"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            place = path.relative_to(REPOSITORY).as_posix()
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                match node:
                    case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                        yield place, name
                    case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                        yield place, name


def test_no_metaphor_comes_back():
    """No function, variable or parameter has one of the old private words in its name."""
    assert [each for each in identifiers() if METAPHORS & set(words_of(each[1]))] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("send_buffer", ["send", "buffer"]),
        ("EngineIoSession", ["engine", "io", "session"]),
        ("HTTPServer", ["http", "server"]),
        ("_EtaEstimator", ["eta", "estimator"]),
    ],
)
def test_names_are_split_into_words(name: str, words: list[str]):
    """Both spellings of a name give the same words."""
    assert words_of(name) == words


def test_the_glossary_is_read():
    """The rule would hold for anything if no word were found."""
    assert {"lease", "outbox", "wave", "escrow"} <= known_words()
    assert not {"porch", "purse"} & known_words()
    assert re.fullmatch(r"[a-z]+", min(known_words()))
