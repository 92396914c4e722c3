"""The command line: serve, demo, simulate, token, table, ledger."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_args

import click
import msgspec
import uvloop

from dispatch import settings
from dispatch.clock import SystemClock
from dispatch.ids import is_id
from dispatch.settings import JWT_SECRET_BYTES_MIN, Settings, SettingsError
from dispatch.storage.embedded import EngineFailed, embedded_engines
from handlers.app.progress_line import ProgressLine
from handlers.sessions.auth import TOKEN_TTL_S_MAX, Tokens, UserType
from ledger.dynamodb.table import TableUnavailable

# Source: click's exit code for a wrong call; a setting is a part of the call.
EXIT_BAD_SETTINGS = 2
EXIT_UNAVAILABLE = 1
EXIT_LEDGER_BREAK = 1
TOKEN_TTL_S = 24 * 3600
DEV_SECRET_FILE = "dev-secret"  # noqa: S105 (a file's name)

if TYPE_CHECKING:
    from ledger.dynamodb.client import DynamoTable

P = ParamSpec("P")
T = TypeVar("T")


# Commands of the simulated city.
_CITY_COMMANDS = ("demo", "simulate")


class _LazyGroup(click.Group):
    """A command group that imports the city's commands only when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_CITY_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _CITY_COMMANDS:
            return super().get_command(ctx, cmd_name)
        from city import __main__ as city  # noqa: PLC0415 (a server needs no city)

        return city.main if cmd_name == "demo" else city.simulate


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reeyo-dispatch")
def main() -> None:
    """Reeyo Dispatch: a real-time dispatch and tracking server for delivery companies.

    Settings come from the environment; deploy/env.example lists them.
    """


def _exit_with_one_line(command: Callable[P, T]) -> Callable[P, T]:
    """Report what the operator can put right in one line; a bug keeps its traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except SettingsError as error:
            click.echo(f"reeyo: {error}", err=True)
            sys.exit(EXIT_BAD_SETTINGS)
        except (EngineFailed, TableUnavailable) as error:
            click.echo(f"reeyo: {error}", err=True)
            sys.exit(EXIT_UNAVAILABLE)

    return run


_dev_option = click.option(
    "--dev", is_flag=True, help="For a laptop: makes a secret of its own and keeps it in DATA_DIR."
)


@main.command()
@_dev_option
@click.option(
    "--role",
    type=click.Choice(get_args(settings.Role)),
    help="What this process does: serve sockets and HTTP (edge), assign riders and sweep "
    "(engine), or both (all).  [default: ROLE, else all]",
)
@click.option("--host", help="The address to listen at.  [default: HOST, else 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The port to listen at.  [default: PORT, else 8080]",
)
@_exit_with_one_line
def serve(*, dev: bool, role: str | None, host: str | None, port: int | None) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    With --dev or EMBEDDED=on it starts embedded engines where REDIS_URL or DYNAMODB_ENDPOINT is not
    set; they keep their data in DATA_DIR. Else, without DYNAMODB_ENDPOINT, the table is on AWS.
    """
    given = {"HOST": host, "PORT": None if port is None else str(port), "ROLE": role}
    chosen = _read_settings({name: value for name, value in given.items() if value}, dev=dev)
    # Imported here: the other commands need no sockets.
    from handlers.app import server  # noqa: PLC0415

    _run_event_loop(server.serve(chosen))


@main.command()
@click.option(
    "--type",
    "user_type",
    required=True,
    type=click.Choice(get_args(UserType), case_sensitive=False),
    help="The kind of client the token is for.",
)
@click.option("--id", "owner", required=True, help="The user's, vendor's, rider's or admin's id.")
@click.option(
    "--ttl",
    "ttl_s",
    default=TOKEN_TTL_S,
    show_default=True,
    type=click.IntRange(1, TOKEN_TTL_S_MAX),
    help="Seconds until it expires.",
)
@_dev_option
@_exit_with_one_line
def token(*, user_type: UserType, owner: str, ttl_s: int, dev: bool) -> None:
    """Print a token signed with JWT_SECRET.

    With --dev it is signed with the secret of a server that runs with --dev on the same DATA_DIR.
    """
    if not is_id(owner):
        raise click.BadParameter("1 to 64 of A-Z a-z 0-9 _ -", param_hint="--id")
    tokens = Tokens(_read_settings({}, dev=dev))
    click.echo(tokens.issue(user_type, owner, ttl_s, SystemClock().now_ms()))


@main.group()
def table() -> None:
    """The DynamoDB table."""


_dev_table_option = click.option(
    "--dev", is_flag=True, help="Use the embedded engine's table in DATA_DIR."
)


@table.command()
@_dev_table_option
@_exit_with_one_line
def create(*, dev: bool) -> None:
    """Create the table if it is missing; exit 0 when it exists with the right schema."""
    chosen = _read_table_settings(dev=dev)
    is_new = _run_event_loop(_create_table(chosen))
    click.echo(f"{chosen.dynamodb_table} {'was created' if is_new else 'exists'}")


async def _create_table(chosen: Settings) -> bool:
    # Imported here: loading the AWS client takes a second.
    from ledger.dynamodb.schema import AccessRefused, SchemaMismatch, ensure_table  # noqa: PLC0415

    async with _opened_table(chosen) as opened:
        try:
            return await ensure_table(opened)
        except SchemaMismatch as error:
            raise SettingsError(f"DYNAMODB_TABLE: {error}") from error
        except AccessRefused as error:
            raise SettingsError(f"DynamoDB refuses the AWS credentials: {error}") from error


@main.group()
def ledger() -> None:
    """The ledger."""


@ledger.command()
@click.option(
    "--from", "from_", default="", help="The first day or moment, as 2026-11-21T08:00; UTC."
)
@click.option("--to", default="", help="The moment after the last, UTC.  [default: now]")
@_dev_table_option
@_exit_with_one_line
def verify(*, from_: str, to: str, dev: bool) -> None:
    """Verify the ledger: print the first break and exit 1, or exit 0 without one.

    Nothing is changed. Progress goes to stderr.
    """
    chosen = _read_table_settings(dev=dev)
    found = _run_event_loop(_verify_ledger(chosen, _parse_time_ms(from_) or 0, _parse_time_ms(to)))
    if found is not None:
        click.echo(found)
        sys.exit(EXIT_LEDGER_BREAK)


def _parse_time_ms(text: str) -> int | None:
    if not text:
        return None
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as error:
        raise click.BadParameter(f"{text}: a date or time of ISO 8601, UTC") from error


async def _verify_ledger(chosen: Settings, from_ms: int, to_ms: int | None) -> str | None:
    # Imported here: loading the AWS client takes a second.
    from ledger.reporting.audit import Audit  # noqa: PLC0415

    clock = SystemClock()
    progress = ProgressLine(clock.monotonic_s)
    async with _opened_table(chosen) as opened:

        def report_progress() -> None:
            progress.show(describe_progress)

        def describe_progress() -> str:
            return (
                f"{audit.account_count} accounts, {audit.line_count} lines, "
                f"{audit.entry_count} entries"
            )

        audit = Audit(opened, clock.now_ms, report_progress)
        found = None
        async for each in audit.find_breaks(from_ms, to_ms):
            found = str(each)
            break
        progress.finish(describe_progress)
    return found


def _read_table_settings(*, dev: bool) -> Settings:
    """The settings of a command that uses the table alone: no token is signed, no Redis asked."""
    unused = {"JWT_SECRET": secrets.token_urlsafe(), "REDIS_URL": "redis://unused"}
    return settings.read({**unused, **os.environ}, dev=dev)


@asynccontextmanager
async def _opened_table(chosen: Settings) -> AsyncGenerator["DynamoTable"]:
    # Imported here: loading the AWS client takes a second.
    from ledger.dynamodb.client import open_table  # noqa: PLC0415

    async with (
        embedded_engines(chosen) as engines,
        open_table(engines.dynamodb_endpoint, chosen.aws_region, chosen.dynamodb_table) as opened,
    ):
        yield opened


def _run_event_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def _read_settings(overrides: Mapping[str, str], *, dev: bool) -> Settings:
    environ = {**os.environ, **overrides}
    chosen = settings.read(environ, dev=dev)
    if not dev or environ.get("JWT_SECRET"):
        return chosen
    path = chosen.data_dir / DEV_SECRET_FILE
    click.echo(f"reeyo: JWT_SECRET is not set, so tokens are signed with {path}", err=True)
    return msgspec.structs.replace(chosen, jwt_secret=_read_dev_secret(path))


def _read_dev_secret(path: Path) -> str:
    """The secret in a data folder, made at the first read; only its owner may read the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent) as fresh:
            fresh.write(secrets.token_urlsafe(JWT_SECRET_BYTES_MIN))
            fresh.flush()
            # Atomic, and never over a secret that another process has just made.
            with suppress(FileExistsError):
                os.link(fresh.name, path)
        secret = path.read_text(encoding="ascii")
    except OSError as error:
        raise SettingsError(f"DATA_DIR cannot hold a secret: {error}") from error
    if len(secret) < JWT_SECRET_BYTES_MIN:
        raise SettingsError(f"{path} is damaged: remove it, and a new one is made")
    return secret


if __name__ == "__main__":
    main()
