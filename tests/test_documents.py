"""Documents follow the code: walks can be followed, links lead somewhere, tables are fresh."""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.documents import REPOSITORY, documents, renewed

_WALK = re.compile(r"<!-- walk -->\n(.*?)<!-- end -->", re.DOTALL)
_STEP = re.compile(r"^\d+\. `([\w/]+\.py)`(.*)$", re.MULTILINE)
_WIRED = re.compile(r"\(wired in `([\w/]+\.py)`\)")
_LINK = re.compile(r"\]\((?!http|#)([^)#]+)[^)]*\)")
_PATH = re.compile(
    r"`((?:handlers|dispatch|matching|ledger|concurrency|tests|bench|deploy|docs)/[\w/.-]+\.\w+)`"
)

Step = tuple[str, str]


def walks() -> list[list[Step]]:
    """Each walk of the architecture document: paths, with the text behind them."""
    text = (REPOSITORY / "docs/architecture.md").read_text("utf-8")
    return [_STEP.findall(walk) for walk in _WALK.findall(text)]


@cache
def imports_of(path: str) -> frozenset[str]:
    """The files of the repository that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((REPOSITORY / path).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
    files = {f"{name.replace('.', '/')}.py" for name in found}
    return frozenset(name for name in files if (REPOSITORY / name).is_file())


def is_linked(before: str, step: Step) -> bool:
    """Whether a reader gets from one file to the next by an import."""
    path, text = step
    if wired := _WIRED.search(text):
        return {before, path} <= imports_of(wired[1])
    return path in imports_of(before) or before in imports_of(path)


def test_the_walks_can_be_followed():
    """Each file of a walk exists, and imports or is imported by the one before it."""
    found = walks()
    broken = [
        (before, step)
        for walk in found
        for (before, _), step in pairwise(walk)
        if not is_linked(before, step)
    ]

    assert len(found) >= 2
    assert [path for walk in found for path, _ in walk if not (REPOSITORY / path).is_file()] == []
    assert broken == []


def test_generated_parts_are_fresh():
    """`python -m tests.documents --write` would change nothing."""
    found = documents()

    assert found
    assert [
        path.name for path in found if renewed(path.read_text("utf-8")) != path.read_text("utf-8")
    ] == []


GUIDES = [
    *("README.md", "CONTRIBUTING.md", "bench/README.md", "deploy/README.md"),
    *(f"docs/{each}.md" for each in ("README", "architecture", "contract", "glossary")),
    *("docs/http.md", "docs/promises.md"),
]


@pytest.mark.parametrize("name", GUIDES)
def test_links_and_paths_lead_somewhere(name: str):
    """Every link and every path in a guide names a file that is there."""
    document = REPOSITORY / name
    text = document.read_text("utf-8")
    links = [link for link in _LINK.findall(text) if not (document.parent / link).exists()]
    paths = [path for path in _PATH.findall(text) if not Path(REPOSITORY, path).exists()]

    assert (links, paths) == ([], [])
