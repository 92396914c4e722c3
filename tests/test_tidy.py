"""The house rules that a machine can keep; each test says a rule and names who breaks it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("concurrency", "dispatch", "handlers", "matching", "ledger", "city")
# The two places where a bug may end: a command's, and a background loop's.
CATCH_ALLS = {"handlers/sockets/gate.py", "dispatch/supervise.py"}
# The house has one reader of time; the city is a client and has a clock of its own.
CLOCKS = {"dispatch/clock.py", "city/model/clock.py"}
# Real processes are asked again and again, with a deadline.
# Those that poll real processes, and the one whose sleep takes no time.
POLLERS = ("tests/e2e/", "tests/simulation/", "tests/waiting.py", "tests/virtual_time.py")
MODULE_LINES, TEST_LINES, BODY_LINES, PARAMETERS = 440, 700, 60, 5

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> tuple[str, ...]:
    """Every file that is, or is about to be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(name for name in listed.stdout.split("\n") if (REPOSITORY / name).is_file())


def modules(*folders: str) -> list[str]:
    """The Python modules in these top-level folders."""
    return [n for n in files() if n.endswith(".py") and n.split("/", 1)[0] in folders]


@cache
def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8", errors="replace")


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(text(name), filename=name)


def functions(name: str) -> Iterator[Function]:
    return (node for node in ast.walk(tree(name)) if isinstance(node, Function))


def calls(name: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every call in a module."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def source() -> list[str]:
    return modules(*ROOMS, "bench")


def suite() -> list[str]:
    return modules("tests")


def test_there_is_something_to_look_at():
    """A rule that looks at nothing holds always; these look at every room and at the tests."""
    assert {name.split("/", 1)[0] for name in source()} >= set(ROOMS)
    assert "tests/test_tidy.py" in suite()


def first_line(name: str) -> str:
    return (ast.get_docstring(tree(name)) or "").split("\n")[0]


def test_a_module_says_what_it_is_for():
    """The first line of every module is a sentence."""
    assert [n for n in [*source(), *suite()] if not first_line(n).endswith((".", "?"))] == []


def test_a_module_can_be_read_in_one_go():
    """A module has at most 400 lines, a test module 700."""
    long = [n for n in source() if text(n).count("\n") > MODULE_LINES]
    long += [n for n in suite() if text(n).count("\n") > TEST_LINES]
    assert long == []


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the last."""
    first = function.body[1 if ast.get_docstring(function) and function.body[1:] else 0]
    return (function.end_lineno or first.lineno) - first.lineno + 1


def test_a_function_fits_on_a_page():
    """The body of a function has at most 60 lines."""
    everything = [*source(), *suite()]
    long = [(n, f.name) for n in everything for f in functions(n) if body_lines(f) > BODY_LINES]
    assert long == []


def parameters(function: Function) -> int:
    """How many things a function is given; what click calls has as many as it has options."""
    spec = function.args
    named = {arg.arg for arg in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)}
    is_command = "command(" in " ".join(map(ast.unparse, function.decorator_list))
    return 0 if is_command else len(named - {"self", "cls"})


def test_a_function_takes_few_things():
    """A function has at most 5 parameters."""
    many = [(n, f.name) for n in source() for f in functions(n) if parameters(f) > PARAMETERS]
    assert many == []


def test_one_module_reads_the_clock():
    """Time comes from dispatch.clock, so that a test can say what time it is."""
    reads = re.compile(
        r"time\.(time|monotonic|perf_counter)(_ns)?|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
    )
    names = [n for n in modules(*ROOMS) if n not in CLOCKS]
    assert [(n, *call) for n in names for call in calls(n) if reads.fullmatch(call[1])] == []


def test_keys_are_spelled_in_one_place():
    """A Redis key is built by dispatch.keys alone, which says its type and time to live."""
    nouns = set(re.findall(r'return f?"([a-z]+):\{', text("dispatch/keys.py")))
    assert {"rider", "order", "inbox", "timers"} <= nouns
    spelled = re.compile(rf"""["'](?:{"|".join(sorted(nouns))}):\{{""")
    names = [n for n in modules("dispatch", "handlers") if n != "dispatch/keys.py"]
    assert [n for n in names if spelled.search(text(n))] == []


def catches_all(handler: ast.ExceptHandler) -> bool:
    named = {ast.unparse(node) for node in ast.walk(handler.type)} if handler.type else set()
    return handler.type is None or bool(named & {"Exception", "BaseException"})


def test_bugs_rise():
    """Only the gate and the supervisor catch `Exception`."""
    found = [
        (name, node.lineno)
        for name in source()
        if name not in CATCH_ALLS
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ExceptHandler) and catches_all(node)
    ]
    assert found == []


def test_tests_do_not_sleep():
    """A test waits for what happens, or moves a clock; `sleep(0)` only gives way to the loop."""
    naps = re.compile(r"\b(?:asyncio|time)\.sleep\((?!0\))|from (?:asyncio|time) import.*\bsleep\b")
    names = [n for n in suite() if not n.startswith((*POLLERS, "tests/test_tidy.py"))]
    assert [n for n in names if naps.search(text(n))] == []


def cases() -> list[tuple[str, Function]]:
    return [(n, f) for n in suite() for f in functions(n) if f.name.startswith("test_")]


def test_a_test_is_a_claim():
    """Every test has a docstring that says what is so, as a sentence."""
    said = [(name, case, ast.get_docstring(case) or "") for name, case in cases()]
    assert [(n, c.name) for n, c, claim in said if not claim.rstrip().endswith((".", "?"))] == []


def test_a_test_takes_one_way():
    """No `if` decides what a test tests."""
    branching = [(n, c.name) for n, c in cases() if any(isinstance(x, ast.If) for x in ast.walk(c))]
    assert branching == []


def test_no_folder_of_tests_is_a_package():
    """Test modules are imported by path, so that two of them may share a name."""
    assert [n for n in suite() if n.endswith("__init__.py")] == []


# Spelled in parts, so that this file keeps the rules it states.
SAID_NOWHERE = {
    "a registry's host": (
        r"pypi\." + "org",
        r"pythonhosted\." + "org",
        r"registry\.npm" + "js",
        r"registry\.yarn" + "pkg",
        r"(deb|security)\.deb" + "ian",
    ),
    "a path of one machine": ("/work" + r"/\w", "/home" + "/[a-z]", "/root" + "/", "/Us" + "ers/"),
    "how the work was organised": (
        r"\.\./sha" + "red",
        "(?i:cla" + "ude)",
        "(?i:anth" + "ropic)",
        "(?i:sub" + r"-?agent)",
    ),
    "work left for later": (r"\bFIX" + r"ME\b", r"\bTO" + r"DO\b", r"\bXX" + r"X\b"),
}
# Checksums say anything.
LOCKS = {"package-lock.json": "a registry's host", "requirements.txt": "a registry's host"}
PICTURES = (".png", ".jpg", ".webp", ".woff2", ".ico", ".gz", ".pbf")


@pytest.mark.parametrize("what", SAID_NOWHERE)
def test_no_file_says(what: str):
    """What only one machine, one registry or one workday knows stays out of the repository."""
    pattern = re.compile("|".join(SAID_NOWHERE[what]))
    names = [n for n in files() if not n.endswith(PICTURES) and LOCKS.get(n, what) == what]
    assert [(n, hit.group()) for n in names if (hit := pattern.search(text(n)))] == []


def test_the_locks_are_whole():
    """Every Python package has a hash and every npm package an integrity, and no address."""
    assert len(re.findall(r"^[a-z0-9._-]+==", text("requirements.txt"), re.MULTILINE)) > 50
    blocks = re.split(r"\n(?=[a-z0-9._-]+==)", text("requirements.txt"))
    assert [block.split(" ")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert '"resolved"' not in text("package-lock.json")
