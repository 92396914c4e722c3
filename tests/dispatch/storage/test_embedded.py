"""Embedded engines keep their data, die with their server, and serve only one server."""

import asyncio
import os
import platform
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aioboto3
import pytest

from dispatch import metrics, settings
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings, SettingsError
from dispatch.storage.embedded import NODE_MODULES, EngineFailed, embedded_engines
from dispatch.storage.redis_client import open_redis, translate_redis_errors
from tests.metric_values import metric_value
from tests.waiting import Until

pytestmark = pytest.mark.engines

# A kernel ends a killed process within milliseconds; the rest is for a busy machine.
DEATH_MS = 10_000

# A server with nothing but its engines: prints their address, then runs until it is killed.
SERVER = """
import asyncio, sys
from dispatch import settings
from dispatch.storage.embedded import embedded_engines

async def main():
    async with embedded_engines(settings.read({"DATA_DIR": sys.argv[1]}, dev=True)) as found:
        print(found.redis_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def embedded_settings(tmp_path: Path) -> Settings:
    """Settings that name no store, so that both are embedded."""
    return settings.read({"DATA_DIR": str(tmp_path / "data")}, dev=True)


@pytest.fixture
def server(embedded_settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A server in a separate process, with its engines running."""
    argv = [sys.executable, "-c", SERVER, str(embedded_settings.data_dir)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("redis://")
        yield process
        process.kill()


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in pids.split()]


def exits(pidfd: int) -> bool:
    """Whether a process exits within the deadline."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(DEATH_MS))


def table_client(endpoint: str | None) -> Any:
    # The engine checks no signature, but the client needs keys to make one.
    session = aioboto3.Session(aws_access_key_id="test", aws_secret_access_key="test")
    return session.client("dynamodb", "eu-west-1", endpoint_url=endpoint)


async def test_a_killed_server_leaves_no_engine(server: subprocess.Popen[str]):
    """After `kill -9` of the server the kernel kills both engines."""
    engines = [os.pidfd_open(child) for child in children(server.pid)]
    assert len(engines) == 2
    server.send_signal(signal.SIGKILL)
    assert all(exits(engine) for engine in engines)


async def test_folder_of_a_killed_server_is_unlocked(
    server: subprocess.Popen[str], embedded_settings: Settings
):
    """After `kill -9` of a server the next one starts on its folder without a clean-up."""
    server.send_signal(signal.SIGKILL)
    async with (
        embedded_engines(embedded_settings) as endpoints,
        open_redis(endpoints.redis_url) as clients,
    ):
        assert await clients.commands.ping()


async def test_a_folder_serves_one_server(
    server: subprocess.Popen[str], embedded_settings: Settings
):
    """A second server on the same folder is refused in one line that names the first."""
    with pytest.raises(EngineFailed) as failed:
        async with embedded_engines(embedded_settings, lock_timeout_s=0.05):
            pass
    assert str(failed.value) == (
        f"{embedded_settings.data_dir} is used by another server (process {server.pid}): "
        "stop it, or set DATA_DIR"
    )


async def test_ctrl_c_does_not_reach_the_engines(server: subprocess.Popen[str]):
    """Each engine is in a process group of its own, not in the terminal's."""
    groups = {os.getpgid(child) for child in children(server.pid)}
    assert groups == set(children(server.pid))


async def test_data_survive_a_restart(embedded_settings: Settings):
    """What one run wrote to either engine, the next run reads."""
    keys = {"AttributeName": "PK", "KeyType": "HASH"}
    attributes = {"AttributeName": "PK", "AttributeType": "S"}
    item = {"PK": {"S": "order"}, "total": {"N": "4500"}}
    async with (
        embedded_engines(embedded_settings) as endpoints,
        open_redis(endpoints.redis_url) as clients,
        table_client(endpoints.dynamodb_endpoint) as table,
    ):
        await clients.commands.set("kept", "yes")
        await table.create_table(
            TableName="kept",
            KeySchema=[keys],
            AttributeDefinitions=[attributes],
            BillingMode="PAY_PER_REQUEST",
        )
        await table.put_item(TableName="kept", Item=item)
    async with (
        embedded_engines(embedded_settings) as endpoints,
        open_redis(endpoints.redis_url) as clients,
        table_client(endpoints.dynamodb_endpoint) as table,
    ):
        assert await clients.commands.get("kept") == b"yes"
        answer = await table.get_item(TableName="kept", Key={"PK": {"S": "order"}})
        assert answer["Item"] == item


async def test_valkey_persists_and_never_evicts(embedded_settings: Settings):
    """The append-only file is on, snapshots are off, and a full Valkey evicts no key."""
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "bind": "127.0.0.1",
        "maxmemory-policy": "noeviction",
    }
    async with (
        embedded_engines(embedded_settings) as endpoints,
        open_redis(endpoints.redis_url) as clients,
    ):
        answer = await clients.commands.config_get(*wanted)
    assert answer == wanted


async def test_killed_engine_is_restarted_on_its_port(embedded_settings: Settings, until: Until):
    """A killed Valkey is restarted with its data on the same port, and the crash is counted."""
    crashes = metrics.LOOP_CRASHES.labels("engine-valkey")
    before = metric_value(crashes)
    async with (
        embedded_engines(embedded_settings) as endpoints,
        open_redis(endpoints.redis_url) as clients,
    ):
        await clients.commands.set("kept", "yes")
        info = await clients.commands.info("server")
        engine = os.pidfd_open(info["process_id"])
        os.kill(info["process_id"], signal.SIGKILL)
        assert await asyncio.to_thread(exits, engine)
        kept: list[object] = []

        async def is_back() -> bool:
            with suppress(StoreUnavailable), translate_redis_errors():
                kept.append(await clients.commands.get("kept"))
            return bool(kept)

        await until.eventually(is_back)
    assert kept == [b"yes"]
    assert metric_value(crashes) == before + 1


async def test_named_stores_start_no_engine(tmp_path: Path):
    """With both stores named no engine is started, and no folder is made or locked."""
    given = {"REDIS_URL": "redis://r:1", "DYNAMODB_ENDPOINT": "http://d:1"}
    external = settings.read({**given, "DATA_DIR": str(tmp_path / "data")}, dev=True)
    async with embedded_engines(external) as endpoints:
        assert endpoints == ("redis://r:1", "http://d:1")
    assert not (tmp_path / "data").exists()


async def test_only_the_missing_engine_is_started(tmp_path: Path):
    """With REDIS_URL set only the DynamoDB engine is started."""
    given = {"REDIS_URL": "redis://r:1", "DATA_DIR": str(tmp_path / "data")}
    async with embedded_engines(settings.read(given, dev=True)) as endpoints:
        assert endpoints.redis_url == "redis://r:1"
        assert endpoints.dynamodb_endpoint is not None
        assert not (tmp_path / "data" / "valkey").exists()


async def test_aws_needs_no_endpoint(tmp_path: Path):
    """No endpoint means AWS itself, also with a role instead of keys: no engine is started."""
    given = {"JWT_SECRET": "s" * 32, "REDIS_URL": "redis://r:1", "DATA_DIR": str(tmp_path)}
    async with embedded_engines(settings.read(given)) as endpoints:
        assert endpoints.dynamodb_endpoint is None


@pytest.mark.parametrize(
    ("system", "machine", "given", "setting"),
    [
        ("Darwin", "arm64", {}, "REDIS_URL"),
        ("Linux", "riscv64", {}, "REDIS_URL"),
        ("Linux", "aarch64", {"REDIS_URL": "redis://r:1"}, "DYNAMODB_ENDPOINT"),
    ],
)
async def test_unsupported_platform_names_the_setting(
    system: str, machine: str, given: dict[str, str], setting: str, tmp_path: Path
):
    """Where an engine cannot run, a one-line error names the setting that replaces it."""
    embedding = settings.read({**given, "DATA_DIR": str(tmp_path)}, dev=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platform, "system", lambda: system)
        patch.setattr(platform, "machine", lambda: machine)
        with pytest.raises(EngineFailed, match=setting) as failed:
            async with embedded_engines(embedding):
                pass
    assert "\n" not in str(failed.value)


async def test_missing_engine_names_make_setup(
    embedded_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Without node_modules the error says how to install them."""
    monkeypatch.delenv("REEYO_NODE_MODULES", raising=False)
    with pytest.raises(EngineFailed, match="make setup"):
        async with embedded_engines(embedded_settings, node_modules=tmp_path):
            pass


async def test_node_modules_may_be_elsewhere(
    embedded_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """REEYO_NODE_MODULES names the engine's folder for an installed server."""
    monkeypatch.setenv("REEYO_NODE_MODULES", str(NODE_MODULES))
    async with embedded_engines(embedded_settings, node_modules=tmp_path) as endpoints:
        assert endpoints.dynamodb_endpoint is not None


async def test_unusable_data_dir_is_reported_in_one_line(tmp_path: Path):
    """DATA_DIR on a file is reported as such, not as a stack trace."""
    (tmp_path / "data").write_text("a file")
    on_a_file = settings.read({"DATA_DIR": str(tmp_path / "data")}, dev=True)
    with pytest.raises(SettingsError, match="DATA_DIR cannot be used"):
        async with embedded_engines(on_a_file):
            pass


async def test_broken_installation_is_reported_in_one_line(
    embedded_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A binary that is not executable is reported with the system's reason."""
    binary = tmp_path / "@dynoxide" / "linux-x64" / "dynoxide"
    binary.parent.mkdir(parents=True)
    binary.write_text("not a program")
    monkeypatch.setenv("REEYO_NODE_MODULES", str(tmp_path))
    with pytest.raises(EngineFailed, match=r"dynoxide cannot be started: .*Permission denied"):
        async with embedded_engines(embedded_settings):
            pass


async def test_failed_start_reports_the_last_output_line(embedded_settings: Settings):
    """A damaged append-only file fails the start with Valkey's last output line."""
    broken = embedded_settings.data_dir / "valkey" / "appendonlydir"
    broken.mkdir(parents=True)
    (broken / "appendonly.aof.manifest").write_text("no manifest\n")
    with pytest.raises(EngineFailed, match=r"valkey did not start: .*manifest"):
        async with embedded_engines(embedded_settings):
            pass
