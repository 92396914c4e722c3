"""What operators are given is true: it fits the code, and the linters find nothing in it."""

import re
import subprocess
import sys
import tomllib
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from packaging.requirements import Requirement

from dispatch import settings
from dispatch.settings import Settings
from ledger.dynamodb.schema import TABLE_DEFINITION, TTL_ATTRIBUTE

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
# Named in env.example, but read by others: the AWS client, the embedded engine, the compose file.
FOREIGN_VARIABLES = {"AWS_SECRET_ACCESS_KEY", "REEYO_NODE_MODULES", "REDIS_PASSWORD", "PUBLISH"}


def run_linter(tool: str, file: str) -> subprocess.CompletedProcess[str]:
    """Run one of the linters of this environment on a file; neither needs a network."""
    argv = [str(Path(sys.executable).with_name(tool)), str(DEPLOY / file)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def example_settings() -> dict[str, str]:
    """The names and values in env.example, whether commented out or not."""
    lines = (DEPLOY / "env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", lines, re.MULTILINE))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "table.yaml").read_text(encoding="utf-8"))["Resources"]


@pytest.mark.slow
@pytest.mark.parametrize(("tool", "file"), [("hadolint", "Dockerfile"), ("cfn-lint", "table.yaml")])
def test_the_linters_find_nothing(tool: str, file: str):
    """The Dockerfile and the template pass their linters without a remark."""
    result = run_linter(tool, file)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_setting_is_in_the_example():
    """env.example names exactly the settings that the server reads; `dev` is no variable."""
    ours = {name.upper() for name in Settings.__struct_fields__} - {"DEV"}
    assert set(example_settings()) - FOREIGN_VARIABLES == ours
    assert set(example_settings()) >= FOREIGN_VARIABLES


def env_text(value: object) -> str:
    """A default as the example spells it."""
    return {"()": "", "None": ""}.get(str(value), str(value))


def test_the_example_has_the_defaults():
    """Each value in env.example is the default of its setting."""
    fields = msgspec.structs.fields(Settings)
    defaults = {field.name.upper(): env_text(field.default) for field in fields}
    given = {
        name: value for name, value in example_settings().items() if name not in FOREIGN_VARIABLES
    }
    assert given == {name: defaults[name] for name in given}


def test_the_example_is_a_valid_environment():
    """With a secret filled in, the example is a valid environment."""
    chosen = settings.read({**example_settings(), "JWT_SECRET": "x" * 32})
    assert (chosen.port, chosen.data_dir, chosen.redis_url) == (8080, Path("data"), None)


def test_the_template_is_the_schema(resources: dict[str, Any]):
    """CloudFormation makes the very table that the server would make and checks for."""
    properties = resources["Table"]["Properties"]
    assert {name: properties[name] for name in TABLE_DEFINITION} == TABLE_DEFINITION
    ttl = {"AttributeName": TTL_ATTRIBUTE, "Enabled": True}
    assert properties["TimeToLiveSpecification"] == ttl


def test_the_table_cannot_be_lost_by_mistake(resources: dict[str, Any]):
    """The table has point-in-time recovery, and outlives a deletion of its stack."""
    table = resources["Table"]
    recovery = table["Properties"]["PointInTimeRecoverySpecification"]
    assert recovery == {"PointInTimeRecoveryEnabled": True}
    assert table["Properties"]["DeletionProtectionEnabled"] is True
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")


def copied_paths() -> list[str]:
    """What the Dockerfile takes from the repository."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    return [part for line in lines for part in line.split()]


def test_the_image_copies_existing_paths():
    """Everything that the Dockerfile copies is in the repository and let into the build."""
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    assert [part for part in copied_paths() if not (REPOSITORY / part).exists()] == []
    assert [part for part in copied_paths() if f"!{part}" not in let_in] == []


def test_the_image_has_every_package():
    """Each package of the server is copied into the image."""
    rooms = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert rooms <= set(copied_paths())


def test_the_image_has_a_user_and_a_health_check():
    """The container runs under a user of its own and is healthy when it is ready."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER [1-9]\d+$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n.*/readyz", text, re.MULTILINE)


def locked_packages(file: str) -> dict[str, str]:
    """The blocks of a lock file, by package and version."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S+==)", text)
    hashes = {block.split(" ")[0]: re.findall(r"sha256:\w+", block) for block in blocks}
    return {name: " ".join(sorted(found)) for name, found in hashes.items()}


def test_the_image_installs_what_was_tested():
    """Every package of the image has the version and the hashes of the lock at the root."""
    image, tested = locked_packages("deploy/requirements.txt"), locked_packages("requirements.txt")
    assert len(image) > 30
    assert [name for name, hashes in image.items() if tested.get(name) != hashes] == []


@pytest.mark.parametrize("file", ["requirements.txt", "deploy/requirements.txt"])
def test_every_package_of_a_lock_has_its_hashes(file: str):
    """What a registry gives under the same name and version is taken if it is the same."""
    assert [name for name, hashes in locked_packages(file).items() if not hashes] == []


def test_every_requirement_has_a_floor_that_the_lock_keeps():
    """An older release may have a hole that was closed since; ours end before the next major."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [Requirement(each) for each in project["dependencies"]]
    developers = map(Requirement, project["optional-dependencies"]["dev"])
    locked = dict(name.split("==") for name in locked_packages("requirements.txt"))
    assert all({">=", "<"} == {each.operator for each in need.specifier} for need in needs)
    unkept = [
        need.name
        for need in (*needs, *developers)
        if ">=" not in str(need.specifier) or locked[need.name] not in need.specifier
    ]
    assert unkept == []


def test_compose_starts_what_the_server_needs(compose: dict[str, Any]):
    """The server waits for Redis and for its table, and its table for the engine."""
    services = compose["services"]
    assert set(services) == {"server", "table", "redis", "dynamodb"}
    assert services["server"]["depends_on"] == {
        "redis": {"condition": "service_healthy"},
        "table": {"condition": "service_completed_successfully"},
    }
    assert services["table"]["depends_on"] == {"dynamodb": {"condition": "service_healthy"}}
    assert services["table"]["command"] == ["table", "create"]
    assert services["server"]["build"]["dockerfile"] == "deploy/Dockerfile"


def test_compose_settings_are_settings(compose: dict[str, Any]):
    """The server in the compose file is given settings that it knows, and valid ones."""
    given = compose["services"]["server"]["environment"]
    assert set(given) - FOREIGN_VARIABLES <= {name.upper() for name in Settings.__struct_fields__}
    chosen = settings.read(given)
    assert not chosen.embeds_redis
    assert not chosen.embeds_dynamodb


def test_compose_keeps_its_data_and_its_secrets(compose: dict[str, Any]):
    """Both stores write to volumes; no secret has a default; only the server is published."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    secrets = re.findall(r"\$\{(?:JWT_SECRET|REDIS_PASSWORD)(.{2})", text)
    assert set(secrets) == {":?"}
    assert set(compose["volumes"]) == {"redis", "dynamodb"}
    published = [name for name, one in compose["services"].items() if "ports" in one]
    assert published == ["server"]


def test_compose_redis_is_the_embedded_one(compose: dict[str, Any]):
    """The compose file's Redis keeps and refuses like the engine of a laptop, with a password."""
    lines = compose["configs"]["valkey"]["content"].strip().split("\n")
    told = dict(line.split(" ", 1) for line in lines)
    assert told.pop("requirepass").startswith("${REDIS_PASSWORD:?")
    assert told == {
        "dir": "/data",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
    }


def _or_previous(before: str, file: str) -> str:
    return file or before


def test_tests_named_in_security_md_exist():
    """SECURITY.md names files and tests; a test that was renamed must be renamed there."""
    text = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:handlers|e2e|dispatch|ledger|protocol)/[\w/.]*|)(?:::(\w+))?`", text)
    # `::test_x` stands in the file before it.
    files: list[str] = list(accumulate((file for file, _ in named), _or_previous))
    named = [(file, name) for file, (_, name) in zip(files, named, strict=True)]
    gone = [
        (file, name)
        for file, name in named
        if not (REPOSITORY / "tests" / file).exists()
        or (
            name and f"def {name}(" not in (REPOSITORY / "tests" / file).read_text(encoding="utf-8")
        )
    ]
    assert len(named) >= 30
    assert gone == []
