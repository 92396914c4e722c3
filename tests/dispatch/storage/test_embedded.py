"""The embedded engines keep their data, die with their server, and never serve two."""

import asyncio
import os
import platform
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from dispatch import metrics, settings
from dispatch.settings import Settings
from dispatch.storage import embedded, redis_client
from dispatch.storage.embedded import EngineFailed, embedded_engines
from dispatch.storage.redis_client import open_redis

pytestmark = pytest.mark.engines

# A kernel ends a killed process within milliseconds; the rest is for a busy machine.
DEATH_MS = 10_000

# A server reduced to its engines: says where they are, then lives until it is killed.
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
    """Settings that place no store elsewhere."""
    return settings.read({"DATA_DIR": str(tmp_path / "data")}, dev=True)


@pytest.fixture
def server(embedded_settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A server in a process of its own, with its engines up."""
    argv = [sys.executable, "-c", SERVER, str(embedded_settings.data_dir)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("redis://")
        yield process
        process.kill()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in found.split()]


def exits(pidfd: int) -> bool:
    """Whether a process ends within the deadline."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(DEATH_MS))


def table_client(endpoint: str | None) -> Any:
    # The engine checks no signature, yet the client makes one.
    session = aioboto3.Session(aws_access_key_id="test", aws_secret_access_key="test")
    return session.client("dynamodb", "eu-west-1", endpoint_url=endpoint)


async def test_a_killed_server_leaves_no_engine(server: subprocess.Popen[str]):
    """After `kill -9` of the server both engines end by the kernel's hand."""
    engines = [os.pidfd_open(child) for child in children(server.pid)]
    assert len(engines) == 2
    server.send_signal(signal.SIGKILL)
    assert all(exits(engine) for engine in engines)


async def test_the_folder_of_a_killed_server_is_free_at_once(
    server: subprocess.Popen[str], embedded_settings: Settings
):
    """Nobody has to clean up after a crash: the next server takes the folder over."""
    server.send_signal(signal.SIGKILL)
    async with embedded_engines(embedded_settings) as found, open_redis(found.redis_url) as clients:
        assert await clients.commands.ping()


async def test_a_folder_serves_one_server(
    server: subprocess.Popen[str], embedded_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """A second server on the same folder is refused in one line that names the first."""
    monkeypatch.setattr(embedded, "LOCK_S", 0.05)
    with pytest.raises(EngineFailed) as refusal:
        async with embedded_engines(embedded_settings):
            pass
    assert str(refusal.value) == (
        f"{embedded_settings.data_dir} is used by another server (process {server.pid}): "
        "stop it, or set DATA_DIR"
    )


async def test_ctrl_c_does_not_reach_the_engines(server: subprocess.Popen[str]):
    """A Ctrl-C goes to the terminal's process group, and the engines are in none of it."""
    groups = {os.getpgid(child) for child in children(server.pid)}
    assert groups == set(children(server.pid))


async def test_data_survive_a_restart(embedded_settings: Settings):
    """What one run wrote into either engine, the next run reads."""
    keys = {"AttributeName": "PK", "KeyType": "HASH"}
    attributes = {"AttributeName": "PK", "AttributeType": "S"}
    item = {"PK": {"S": "order"}, "total": {"N": "4500"}}
    async with (
        embedded_engines(embedded_settings) as found,
        open_redis(found.redis_url) as clients,
        table_client(found.dynamodb_endpoint) as table,
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
        embedded_engines(embedded_settings) as found,
        open_redis(found.redis_url) as clients,
        table_client(found.dynamodb_endpoint) as table,
    ):
        assert await clients.commands.get("kept") == b"yes"
        answer = await table.get_item(TableName="kept", Key={"PK": {"S": "order"}})
        assert answer["Item"] == item


async def test_valkey_persists_and_never_evicts(embedded_settings: Settings):
    """The append-only file is on, snapshots are off, and a full Redis refuses to forget."""
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "bind": "127.0.0.1",
        "maxmemory-policy": "noeviction",
    }
    async with embedded_engines(embedded_settings) as found, open_redis(found.redis_url) as clients:
        answer = await clients.commands.config_get(*wanted)
    assert answer == wanted


async def test_an_engine_that_dies_comes_back_on_its_port(
    embedded_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """A killed Valkey is started again with its data where its clients look for it; it counts."""
    crashes = metrics.LOOP_CRASHES.labels("engine-valkey")
    before = crashes._value.get()
    monkeypatch.setattr(redis_client, "_CONNECT_RETRY", Retry(ConstantBackoff(0.05), 200))
    async with embedded_engines(embedded_settings) as found, open_redis(found.redis_url) as clients:
        await clients.commands.set("kept", "yes")
        info = await clients.commands.info("server")
        engine = os.pidfd_open(info["process_id"])
        os.kill(info["process_id"], signal.SIGKILL)
        assert await asyncio.to_thread(exits, engine)
        async with open_redis(found.redis_url) as later:
            assert await later.commands.get("kept") == b"yes"
    assert crashes._value.get() == before + 1


async def test_a_store_elsewhere_starts_nothing(tmp_path: Path):
    """With both stores named there is no engine, no lock and no folder."""
    given = {"REDIS_URL": "redis://r:1", "DYNAMODB_ENDPOINT": "http://d:1"}
    there = settings.read({**given, "DATA_DIR": str(tmp_path / "data")}, dev=True)
    async with embedded_engines(there) as found:
        assert found == ("redis://r:1", "http://d:1")
    assert not (tmp_path / "data").exists()


async def test_only_the_missing_engine_is_started(tmp_path: Path):
    """A Redis elsewhere and AWS credentials leave nothing for us to start."""
    given = {"REDIS_URL": "redis://r:1", "DATA_DIR": str(tmp_path / "data")}
    async with embedded_engines(settings.read(given, dev=True)) as found:
        assert found.redis_url == "redis://r:1"
        assert found.dynamodb_endpoint is not None
        assert not (tmp_path / "data" / "valkey").exists()


async def test_aws_needs_no_endpoint(tmp_path: Path):
    """AWS credentials without an endpoint mean AWS itself."""
    given = {"REDIS_URL": "redis://r:1", "AWS_ACCESS_KEY_ID": "key", "DATA_DIR": str(tmp_path)}
    async with embedded_engines(settings.read(given, dev=True)) as found:
        assert found.dynamodb_endpoint is None


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
    """Where an engine cannot run, one line names the variable that replaces it."""
    ours = settings.read({**given, "DATA_DIR": str(tmp_path)}, dev=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platform, "system", lambda: system)
        patch.setattr(platform, "machine", lambda: machine)
        with pytest.raises(EngineFailed, match=setting) as refusal:
            async with embedded_engines(ours):
                pass
    assert "\n" not in str(refusal.value)


async def test_missing_engine_names_make_setup(
    embedded_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Without node_modules the message says how to get them."""
    monkeypatch.setattr(embedded, "_REPOSITORY", tmp_path)
    monkeypatch.delenv("REEYO_NODE_MODULES", raising=False)
    with pytest.raises(EngineFailed, match="make setup"):
        async with embedded_engines(embedded_settings):
            pass


async def test_node_modules_may_be_elsewhere(
    embedded_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """REEYO_NODE_MODULES finds the engine for a server that is installed away from its source."""
    monkeypatch.setenv("REEYO_NODE_MODULES", str(embedded._REPOSITORY / "node_modules"))
    monkeypatch.setattr(embedded, "_REPOSITORY", tmp_path)
    async with embedded_engines(embedded_settings) as found:
        assert found.dynamodb_endpoint is not None


async def test_unusable_data_dir_is_reported_in_one_line(tmp_path: Path):
    """DATA_DIR on a file is an error of the operator's, not a stack trace."""
    (tmp_path / "data").write_text("a file")
    given = settings.read({"DATA_DIR": str(tmp_path / "data")}, dev=True)
    with pytest.raises(EngineFailed, match="DATA_DIR cannot be used"):
        async with embedded_engines(given):
            pass


async def test_broken_installation_is_reported_in_one_line(
    embedded_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A binary that may not be run is named with the system's reason."""
    binary = tmp_path / "@dynoxide" / "linux-x64" / "dynoxide"
    binary.parent.mkdir(parents=True)
    binary.write_text("not a program")
    monkeypatch.setenv("REEYO_NODE_MODULES", str(tmp_path))
    with pytest.raises(EngineFailed, match=r"dynoxide cannot be started: .*Permission denied"):
        async with embedded_engines(embedded_settings):
            pass


async def test_failed_start_reports_the_last_output_line(embedded_settings: Settings):
    """A damaged append-only file ends the start with Valkey's own last line."""
    broken = embedded_settings.data_dir / "valkey" / "appendonlydir"
    broken.mkdir(parents=True)
    (broken / "appendonly.aof.manifest").write_text("no manifest\n")
    with pytest.raises(EngineFailed, match=r"valkey did not start: .*manifest"):
        async with embedded_engines(embedded_settings):
            pass
