"""Words of the product's names, for the rule that each of them is in the glossary."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
GLOSSARY = REPOSITORY / "docs" / "glossary.md"
PACKAGES = ("concurrency", "dispatch", "handlers", "matching", "ledger", "city", "bench")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def words_of(name: str) -> list[str]:
    """The words of a name in snake_case or CamelCase, in lower case."""
    return [part.lower() for part in _PART.findall(name) if not part.isdigit()]


def singular(word: str) -> str:
    """A word without the ending of its plural, as far as this needs to be right."""
    for plural, one in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch")):
        if word.endswith(plural):
            return word.removesuffix(plural) + one
    return word.removesuffix("s") if word.endswith("s") and not word.endswith("ss") else word


@cache
def known_words() -> frozenset[str]:
    """Every word that the glossary's tables and lists define."""
    words: set[str] = set()
    for line in GLOSSARY.read_text("utf-8").split("\n"):
        if line.startswith("| ") and not line.startswith(("| term", "|--")):
            words.update(re.findall(r"[a-z]+", line.split("|")[1].lower()))
        elif line.startswith("    "):
            words.update(line.split())
    return frozenset(singular(word) for word in words)


def module_names() -> Iterator[tuple[str, str]]:
    """Path and name of every module and package."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            place = path.relative_to(REPOSITORY).as_posix()
            yield place, path.parent.name if path.stem == "__init__" else path.stem


def class_names() -> Iterator[tuple[str, str]]:
    """Path and name of every class."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            place = path.relative_to(REPOSITORY).as_posix()
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef):
                    yield f"{place}:{node.lineno}", node.name


def unknown_words(names: Iterator[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Place, name and word for each word of a name that the glossary does not have."""
    return [
        (place, name, word)
        for place, name in names
        for word in words_of(name)
        if singular(word) not in known_words()
    ]
