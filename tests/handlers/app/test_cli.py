"""The command line says in one line what is wrong, and does what its help promises."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from dispatch import settings
from dispatch.clock import SystemClock
from dispatch.settings import Settings
from handlers.app.cli import main
from handlers.sessions.auth import Tokens

SECRET = "a secret of thirty-two bytes, or more"


@pytest.fixture(autouse=True)
def clean_environ(tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment with nothing set but a DATA_DIR of the test's own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.__struct_fields__:
            patch.delenv(name.upper(), raising=False)
        patch.setenv("DATA_DIR", str(tmp_path / "data"))
        yield patch


@pytest.fixture
def started_with(clean_environ: pytest.MonkeyPatch) -> list[Settings]:
    """What the server was started with, instead of starting it."""
    asked: list[Settings] = []

    async def serve(chosen: Settings) -> None:
        asked.append(chosen)

    app = ModuleType("handlers.app.composition")
    app.__dict__["serve"] = serve
    clean_environ.setitem(sys.modules, "handlers.app.composition", app)
    clean_environ.setattr("handlers.app.composition", app, raising=False)
    return asked


def reeyo(*args: str) -> Result:
    return CliRunner().invoke(main, args, prog_name="reeyo")


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["demo"], ["token"], ["table"], ["table", "create"]]
)
def test_every_command_has_help(command: list[str]):
    """`--help` explains each command and exits 0."""
    result = reeyo(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: reeyo")


@pytest.mark.parametrize(
    ("given", "says"),
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
    given: dict[str, str],
    says: str,
    clean_environ: pytest.MonkeyPatch,
    started_with: list[Settings],
):
    """A server that cannot start like this says why in one line and exits 2."""
    for name, value in given.items():
        clean_environ.setenv(name, value)
    result = reeyo("serve")
    assert (result.exit_code, started_with) == (2, [])
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_options_overrule_the_environment(
    clean_environ: pytest.MonkeyPatch, started_with: list[Settings]
):
    """`--host` and `--port` are stronger than HOST and PORT; port 0 is a choice too."""
    clean_environ.setenv("JWT_SECRET", SECRET)
    clean_environ.setenv("PORT", "9000")
    assert reeyo("serve").exit_code == 0
    assert reeyo("serve", "--host", "0.0.0.0", "--port", "0").exit_code == 0
    assert [(one.host, one.port) for one in started_with] == [("127.0.0.1", 9000), ("0.0.0.0", 0)]


def test_a_token_lets_its_owner_in(clean_environ: pytest.MonkeyPatch):
    """The printed token, and nothing beside it, is verified by a server with the same secret."""
    clean_environ.setenv("JWT_SECRET", SECRET)
    result = reeyo("token", "--type", "RIDER", "--id", "rdr_1", "--ttl", "60")
    now_ms = SystemClock().now_ms()
    who = Tokens(settings.read(os.environ)).verify(result.stdout.strip(), now_ms)
    assert (who.user_type, who.id, result.stderr) == ("RIDER", "rdr_1", "")
    assert now_ms < who.expires_at_ms <= now_ms + 60_000


def test_a_token_needs_a_secret():
    """Without a secret there is no token, for nobody would take it."""
    result = reeyo("token", "--type", "RIDER", "--id", "rdr_1")
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("owner", ["", "a b", "rdr#1", "x" * 65])
def test_a_token_needs_an_id(owner: str, clean_environ: pytest.MonkeyPatch):
    """An id that the contract does not know is refused before anything is signed."""
    clean_environ.setenv("JWT_SECRET", SECRET)
    result = reeyo("token", "--type", "RIDER", "--id", owner)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--id" in result.stderr


def test_a_dev_token_fits_the_dev_server(started_with: list[Settings]):
    """`token --dev` in another terminal signs with the secret that `serve --dev` checks."""
    printed = reeyo("token", "--dev", "--type", "VENDOR", "--id", "vnd_1")
    assert reeyo("serve", "--dev").exit_code == 0
    who = Tokens(started_with[0]).verify(printed.stdout.strip(), SystemClock().now_ms())
    assert who.id == "vnd_1"


def test_the_dev_secret_is_kept_to_its_owner(tmp_path: Path, started_with: list[Settings]):
    """The secret is in DATA_DIR/dev-secret for its owner alone, and the server says so."""
    result = reeyo("serve", "--dev")
    path = tmp_path / "data" / "dev-secret"
    assert str(path) in result.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == started_with[0].jwt_secret
    assert [kept.name for kept in path.parent.iterdir()] == ["dev-secret"]


def test_a_given_secret_wins_over_the_kept_one(
    tmp_path: Path, clean_environ: pytest.MonkeyPatch, started_with: list[Settings]
):
    """With JWT_SECRET set, --dev neither makes nor reads a secret of its own."""
    clean_environ.setenv("JWT_SECRET", SECRET)
    result = reeyo("serve", "--dev")
    assert (started_with[0].jwt_secret, result.stderr) == (SECRET, "")
    assert not (tmp_path / "data").exists()


def test_a_damaged_dev_secret_is_not_signed_with(tmp_path: Path):
    """A secret that lost its bytes is named, and not used."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dev-secret").write_text("short")
    result = reeyo("token", "--dev", "--type", "USER", "--id", "usr_1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is damaged: remove it" in result.stderr


def test_a_data_dir_that_is_none_is_told_in_one_line(tmp_path: Path):
    """DATA_DIR on a file is the operator's to put right."""
    (tmp_path / "data").write_text("a file")
    result = reeyo("serve", "--dev")
    assert result.exit_code == 2
    assert "DATA_DIR cannot hold a secret" in result.stderr


@pytest.mark.engines
def test_the_table_is_created_once():
    """`table create` may be repeated; it needs no secret and says what it found."""
    first, second = reeyo("table", "create"), reeyo("table", "create")
    assert (first.exit_code, first.stdout) == (0, "reeyo was created\n")
    assert (second.exit_code, second.stdout) == (0, "reeyo is there\n")


def test_an_engine_that_is_away_is_one_line(clean_environ: pytest.MonkeyPatch):
    """A DynamoDB that does not answer ends the command in one line and exit 1."""
    clean_environ.setenv("DYNAMODB_ENDPOINT", "http://127.0.0.1:9")
    result = reeyo("table", "create")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_a_role_is_chosen(started_with: list[Settings], clean_environ: pytest.MonkeyPatch):
    """By an option, or by the environment; each is one half of all."""
    for name in ("REDIS_URL", "DYNAMODB_ENDPOINT"):
        clean_environ.setenv(name, "redis://shared")
    clean_environ.setenv("ROLE", "edge")

    assert reeyo("serve", "--dev").exit_code == 0
    assert reeyo("serve", "--dev", "--role", "engine").exit_code == 0
    assert [(s.role, s.has_sockets, s.has_engine) for s in started_with] == [
        ("edge", True, False),
        ("engine", False, True),
    ]


def test_a_part_cannot_have_stores_of_its_own():
    """An edge beside nobody would take orders that no engine ever sees."""
    result = reeyo("serve", "--dev", "--role", "edge")

    assert result.exit_code == 2
    assert "ROLE=edge shares its stores" in result.stderr


def test_only_a_laptop_parts_quickly(started_with: list[Settings]):
    """Ctrl-C under --dev is not waited for; in production sockets go one after the other."""
    reeyo("serve", "--dev")

    assert started_with[0].drain_spread_s == 0.5
    assert settings.read({"JWT_SECRET": SECRET}).drain_spread_s == 6.0
