"""Command line: its help, its one-line errors, its tokens and the table."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from city.demo.runner import DemoOptions
from dispatch import settings
from dispatch.clock import SystemClock
from dispatch.settings import Settings
from handlers.app.cli import main
from handlers.sessions.auth import Tokens

SECRET = "a secret of thirty-two bytes, or more"


@pytest.fixture(autouse=True)
def clean_environ(tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Unset every setting but a DATA_DIR of the test's own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.__struct_fields__:
            patch.delenv(name.upper(), raising=False)
        patch.setenv("DATA_DIR", str(tmp_path / "data"))
        yield patch


@pytest.fixture
def started_with(clean_environ: pytest.MonkeyPatch) -> list[Settings]:
    """Replace the server by one that notes the settings it was started with."""
    started: list[Settings] = []

    async def serve(chosen: Settings) -> None:
        started.append(chosen)

    app = ModuleType("handlers.app.server")
    app.__dict__["serve"] = serve
    clean_environ.setitem(sys.modules, "handlers.app.server", app)
    clean_environ.setattr("handlers.app.server", app, raising=False)
    return started


def reeyo(*args: str) -> Result:
    return CliRunner().invoke(main, args, prog_name="reeyo")


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["demo"], ["simulate"], ["token"], ["table"], ["table", "create"]]
)
def test_every_command_has_help(command: list[str]):
    """`--help` explains each command and exits 0."""
    result = reeyo(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: reeyo")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "JWT_SECRET must have at least 32 bytes"),
        ({"JWT_SECRET": "short"}, "JWT_SECRET must have at least 32 bytes"),
        ({"JWT_SECRET": SECRET, "PORT": "eighty"}, "PORT: "),
        ({"JWT_SECRET": SECRET, "RATE_LIMITS": "off"}, "RATE_LIMITS=off"),
        ({"JWT_SECRET": SECRET, "CITY_PACE": "60"}, "CITY_PACE"),
        ({"JWT_SECRET": SECRET, "RIDER_ORDERS_MAX": "0"}, "RIDER_ORDERS_MAX"),
    ],
)
def test_a_bad_setting_is_one_line(
    environ: dict[str, str],
    message: str,
    clean_environ: pytest.MonkeyPatch,
    started_with: list[Settings],
):
    """A server that cannot start like this says why in one line and exits 2."""
    for name, value in environ.items():
        clean_environ.setenv(name, value)
    result = reeyo("serve")
    assert (result.exit_code, started_with) == (2, [])
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_options_overrule_the_environment(
    clean_environ: pytest.MonkeyPatch, started_with: list[Settings]
):
    """`--host` and `--port` win over HOST and PORT, also with port 0."""
    clean_environ.setenv("JWT_SECRET", SECRET)
    clean_environ.setenv("PORT", "9000")
    assert reeyo("serve").exit_code == 0
    assert reeyo("serve", "--host", "0.0.0.0", "--port", "0").exit_code == 0
    assert [(one.host, one.port) for one in started_with] == [("127.0.0.1", 9000), ("0.0.0.0", 0)]


def test_a_printed_token_is_valid(clean_environ: pytest.MonkeyPatch):
    """A server with the same secret verifies it; nothing else is printed."""
    clean_environ.setenv("JWT_SECRET", SECRET)
    result = reeyo("token", "--type", "RIDER", "--id", "rdr_1", "--ttl", "60")
    now_ms = SystemClock().now_ms()
    principal = Tokens(settings.read(os.environ)).verify(result.stdout.strip(), now_ms)
    assert (principal.user_type, principal.id, result.stderr) == ("RIDER", "rdr_1", "")
    assert now_ms < principal.expires_at_ms <= now_ms + 60_000


def test_a_token_needs_a_secret():
    """Without a secret no token is printed: no server would accept it."""
    result = reeyo("token", "--type", "RIDER", "--id", "rdr_1")
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("owner", ["", "a b", "rdr#1", "x" * 65])
def test_a_token_needs_an_id(owner: str, clean_environ: pytest.MonkeyPatch):
    """An id of the wrong form is refused before anything is signed."""
    clean_environ.setenv("JWT_SECRET", SECRET)
    result = reeyo("token", "--type", "RIDER", "--id", owner)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--id" in result.stderr


def test_a_dev_token_is_valid_at_the_dev_server(started_with: list[Settings]):
    """`token --dev` in another terminal signs with the secret that `serve --dev` checks."""
    printed = reeyo("token", "--dev", "--type", "VENDOR", "--id", "vnd_1")
    assert reeyo("serve", "--dev").exit_code == 0
    principal = Tokens(started_with[0]).verify(printed.stdout.strip(), SystemClock().now_ms())
    assert principal.id == "vnd_1"


def test_only_its_owner_may_read_the_dev_secret(tmp_path: Path, started_with: list[Settings]):
    """The secret is in DATA_DIR/dev-secret, and stderr names the file."""
    result = reeyo("serve", "--dev")
    path = tmp_path / "data" / "dev-secret"
    assert str(path) in result.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == started_with[0].jwt_secret
    assert [each.name for each in path.parent.iterdir()] == ["dev-secret"]


def test_jwt_secret_wins_over_the_dev_secret(
    tmp_path: Path, clean_environ: pytest.MonkeyPatch, started_with: list[Settings]
):
    """With JWT_SECRET set, --dev neither makes nor reads a file."""
    clean_environ.setenv("JWT_SECRET", SECRET)
    result = reeyo("serve", "--dev")
    assert (started_with[0].jwt_secret, result.stderr) == (SECRET, "")
    assert not (tmp_path / "data").exists()


def test_a_damaged_dev_secret_is_not_used(tmp_path: Path):
    """A secret that is too short is reported, and nothing is signed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dev-secret").write_text("short")
    result = reeyo("token", "--dev", "--type", "USER", "--id", "usr_1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is damaged: remove it" in result.stderr


def test_a_data_dir_that_is_a_file_is_one_line(tmp_path: Path):
    """The operator learns which setting is wrong."""
    (tmp_path / "data").write_text("a file")
    result = reeyo("serve", "--dev")
    assert result.exit_code == 2
    assert "DATA_DIR cannot hold a secret" in result.stderr


@pytest.mark.engines
def test_the_table_is_created_once():
    """`table create` may be repeated; it needs no secret and reports what it found."""
    first, second = reeyo("table", "create", "--dev"), reeyo("table", "create", "--dev")
    assert (first.exit_code, first.stdout) == (0, "reeyo was created\n")
    assert (second.exit_code, second.stdout) == (0, "reeyo exists\n")


def test_a_dynamodb_that_is_away_is_one_line(clean_environ: pytest.MonkeyPatch):
    """A DynamoDB that does not answer ends the command in one line and exit 1."""
    clean_environ.setenv("DYNAMODB_ENDPOINT", "http://127.0.0.1:9")
    result = reeyo("table", "create")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_a_role_is_chosen(started_with: list[Settings], clean_environ: pytest.MonkeyPatch):
    """ROLE=edge has the sockets, `--role engine` wins over it and has the engine."""
    clean_environ.setenv("REDIS_URL", "redis://shared")
    clean_environ.setenv("DYNAMODB_ENDPOINT", "http://shared")
    clean_environ.setenv("ROLE", "edge")

    assert reeyo("serve", "--dev").exit_code == 0
    assert reeyo("serve", "--dev", "--role", "engine").exit_code == 0
    assert [(s.role, s.has_sockets, s.has_engine) for s in started_with] == [
        ("edge", True, False),
        ("engine", False, True),
    ]


def test_an_edge_needs_shared_stores():
    """With embedded stores it would take orders that no engine ever sees."""
    result = reeyo("serve", "--dev", "--role", "edge")

    assert result.exit_code == 2
    assert "ROLE=edge shares its stores" in result.stderr


def test_a_dev_server_drains_quickly(started_with: list[Settings]):
    """Ctrl-C under --dev closes the sockets within half a second, production within six."""
    reeyo("serve", "--dev")

    assert started_with[0].drain_spread_s == 0.5
    assert settings.read({"JWT_SECRET": SECRET}).drain_spread_s == 6.0


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://dispatch.example.com"])
def test_simulate_uses_a_running_server(url: str, clean_environ: pytest.MonkeyPatch):
    """It starts none: the options are those of the demo, with the server's address."""
    runs: list[DemoOptions] = []
    clean_environ.setattr("city.__main__.run", lambda options: runs.append(options) or 0)
    result = reeyo(
        "simulate", "--url", url, "--riders", "3", "--seed", "7", "--duration", "2", "--json"
    )

    assert result.exit_code == 0
    assert runs == [DemoOptions(url=url, riders=3, seed=7, duration_s=2.0, is_json=True)]


def test_simulate_needs_the_server_s_secret():
    """Without it no token of the city would be accepted: one line says so."""
    result = reeyo("simulate", "--duration", "1")
    assert result.exit_code == 2
    assert "JWT_SECRET" in result.stderr
