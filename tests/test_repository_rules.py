"""Repository rules that a machine can check; each test names the places that break one."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("concurrency", "dispatch", "handlers", "matching", "ledger", "city")
# Where a bug may end: a socket's command or callback, an HTTP request, a background loop.
CATCH_ALL_MODULES = {
    "handlers/sockets/command_runner.py",
    "handlers/sockets/gate.py",
    "handlers/http/framework/middleware.py",
    "dispatch/supervise.py",
}
# The product reads the time in one module; the city is a client and has its own clock.
CLOCK_MODULES = {"dispatch/clock.py", "city/model/clock.py"}
# Tests that may sleep: those that poll real processes with a deadline, and the loop whose
# sleep takes no time.
SLEEPING_TESTS = ("tests/e2e/", "tests/simulation/", "tests/waiting.py", "tests/virtual_time.py")
MODULE_LINES_MAX, TEST_LINES_MAX, BODY_LINES_MAX, PARAMETERS_MAX = 360, 700, 60, 5

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def repository_files() -> tuple[str, ...]:
    """Every file that is in the repository or would be added to it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(name for name in listed.stdout.split("\n") if (REPOSITORY / name).is_file())


def python_modules(*folders: str) -> list[str]:
    """The Python modules in these top-level folders."""
    return [n for n in repository_files() if n.endswith(".py") and n.split("/", 1)[0] in folders]


@cache
def read_text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8", errors="replace")


@cache
def parse_module(name: str) -> ast.Module:
    return ast.parse(read_text(name), filename=name)


def functions_of(name: str) -> Iterator[FunctionNode]:
    return (node for node in ast.walk(parse_module(name)) if isinstance(node, FunctionNode))


def calls_of(name: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every call in a module."""
    for node in ast.walk(parse_module(name)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def source_modules() -> list[str]:
    return python_modules(*PACKAGES, "bench")


def suite_modules() -> list[str]:
    return python_modules("tests")


def test_the_rules_cover_every_package():
    """The rules look at every package and at the tests, so that none holds for lack of files."""
    assert {name.split("/", 1)[0] for name in source_modules()} >= set(PACKAGES)
    assert "tests/test_repository_rules.py" in suite_modules()


def docstring_first_line(name: str) -> str:
    return (ast.get_docstring(parse_module(name)) or "").split("\n")[0]


def test_a_module_has_a_docstring():
    """The first line of every module's docstring is a sentence."""
    assert [
        n
        for n in [*source_modules(), *suite_modules()]
        if not docstring_first_line(n).endswith((".", "?"))
    ] == []


def test_module_length():
    """No module is longer than MODULE_LINES_MAX lines, no test module than TEST_LINES_MAX."""
    long = [n for n in source_modules() if read_text(n).count("\n") > MODULE_LINES_MAX]
    long += [n for n in suite_modules() if read_text(n).count("\n") > TEST_LINES_MAX]
    assert long == []


def count_body_lines(function: FunctionNode) -> int:
    """Lines from the first statement after the docstring to the last."""
    first = function.body[1 if ast.get_docstring(function) and function.body[1:] else 0]
    return (function.end_lineno or first.lineno) - first.lineno + 1


def test_function_length():
    """No function body is longer than BODY_LINES_MAX lines."""
    modules = [*source_modules(), *suite_modules()]
    long = [
        (n, f.name)
        for n in modules
        for f in functions_of(n)
        if count_body_lines(f) > BODY_LINES_MAX
    ]
    assert long == []


def count_parameters(function: FunctionNode) -> int:
    """Number of parameters; 0 for click commands, which have one per option."""
    spec = function.args
    named = {arg.arg for arg in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)}
    is_command = "command(" in " ".join(map(ast.unparse, function.decorator_list))
    return 0 if is_command else len(named - {"self", "cls"})


def test_parameter_count():
    """No function has more than PARAMETERS_MAX parameters."""
    many = [
        (n, f.name)
        for n in source_modules()
        for f in functions_of(n)
        if count_parameters(f) > PARAMETERS_MAX
    ]
    assert many == []


def test_only_the_clock_modules_read_the_time():
    """Only dispatch.clock reads the time, so that a test can set it."""
    reads = re.compile(
        r"time\.(time|monotonic|perf_counter)(_ns)?|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
    )
    names = [n for n in python_modules(*PACKAGES) if n not in CLOCK_MODULES]
    assert [(n, *call) for n in names for call in calls_of(n) if reads.fullmatch(call[1])] == []


def test_redis_keys_are_built_in_one_module():
    """Redis keys are built only in dispatch.keys, which documents their type and time to live."""
    nouns = set(re.findall(r'return f?"([a-z]+):\{', read_text("dispatch/keys.py")))
    assert {"rider", "order", "inbox", "timers"} <= nouns
    spelled = re.compile(rf"""["'](?:{"|".join(sorted(nouns))}):\{{""")
    names = [n for n in python_modules("dispatch", "handlers") if n != "dispatch/keys.py"]
    assert [n for n in names if spelled.search(read_text(n))] == []


def catches_all(handler: ast.ExceptHandler) -> bool:
    named = {ast.unparse(node) for node in ast.walk(handler.type)} if handler.type else set()
    return handler.type is None or bool(named & {"Exception", "BaseException"})


def test_only_gates_and_the_supervisor_catch_exception():
    """Only the gates of sockets and HTTP and the supervisor catch `Exception`."""
    found = [
        (name, node.lineno)
        for name in source_modules()
        if name not in CATCH_ALL_MODULES
        for node in ast.walk(parse_module(name))
        if isinstance(node, ast.ExceptHandler) and catches_all(node)
    ]
    assert found == []


def test_tests_do_not_sleep():
    """Tests do not sleep, except `sleep(0)`, which yields to the loop; they advance a clock."""
    sleeps = re.compile(
        r"\b(?:asyncio|time)\.sleep\((?!0\))|from (?:asyncio|time) import.*\bsleep\b"
    )
    names = [
        n
        for n in suite_modules()
        if not n.startswith((*SLEEPING_TESTS, "tests/test_repository_rules.py"))
    ]
    assert [n for n in names if sleeps.search(read_text(n))] == []


def suite_functions() -> list[tuple[str, FunctionNode]]:
    return [(n, f) for n in suite_modules() for f in functions_of(n) if f.name.startswith("test_")]


def test_a_test_has_a_docstring():
    """Every test has a docstring that is a sentence."""
    docstrings = [(name, case, ast.get_docstring(case) or "") for name, case in suite_functions()]
    assert [
        (n, c.name) for n, c, docstring in docstrings if not docstring.rstrip().endswith((".", "?"))
    ] == []


def test_a_test_has_no_branches():
    """No test has an `if`."""
    branching = [
        (n, c.name) for n, c in suite_functions() if any(isinstance(x, ast.If) for x in ast.walk(c))
    ]
    assert branching == []


def test_every_module_has_a_test_at_its_path():
    """`dispatch/orders/store.py` is tested in `tests/dispatch/orders/test_store.py`, and so on."""
    sources = [Path(n) for n in source_modules() if not Path(n).name.startswith("__")]
    expected = {n: Path("tests") / n.parent / f"test_{n.name}" for n in sources}

    assert [n.as_posix() for n, test in expected.items() if not (REPOSITORY / test).exists()] == []


def test_no_folder_of_tests_is_a_package():
    """No folder of tests is a package: modules are imported by path and may share a name."""
    assert [n for n in suite_modules() if n.endswith("__init__.py")] == []


# Spelled in parts, so that this file itself passes.
FORBIDDEN_TEXT = {
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
# Checksums may contain any text.
LOCK_FILES = {"package-lock.json": "a registry's host", "requirements.txt": "a registry's host"}
BINARY_SUFFIXES = (".png", ".jpg", ".webp", ".woff2", ".ico", ".gz", ".pbf")


@pytest.mark.parametrize("topic", FORBIDDEN_TEXT)
def test_no_file_has_forbidden_text(topic: str):
    """No file names a registry, a path of one machine, or how the work was organised."""
    pattern = re.compile("|".join(FORBIDDEN_TEXT[topic]))
    names = [
        n
        for n in repository_files()
        if not n.endswith(BINARY_SUFFIXES) and LOCK_FILES.get(n, topic) == topic
    ]
    assert [(n, hit.group()) for n in names if (hit := pattern.search(read_text(n)))] == []


def test_the_lock_files_have_hashes():
    """Every Python package has a hash; every npm package has an integrity and no address."""
    assert len(re.findall(r"^[a-z0-9._-]+==", read_text("requirements.txt"), re.MULTILINE)) > 50
    blocks = re.split(r"\n(?=[a-z0-9._-]+==)", read_text("requirements.txt"))
    assert [block.split(" ")[0] for block in blocks if "--hash=sha256:" not in block] == []
    npm = json.loads(read_text("package-lock.json"))["packages"]
    assert [name for name in npm if name and "integrity" not in npm[name]] == []
    assert '"resolved"' not in read_text("package-lock.json")
