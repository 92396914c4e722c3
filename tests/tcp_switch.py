"""TCP switch: leads new connections to another server, and loses packets where asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

HOST = "127.0.0.1"
READ_BYTES = 65_536


class TcpSwitch:
    """Forwards connections to `target`; those that are open stay with their server.

    As a name that resolves to another address after a failover.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        # Open connections, each with the port it leads to.
        self.open: dict[asyncio.Task[None], int] = {}
        self.lost_count = 0
        self._lost: set[int] = set()

    def find_packets(self) -> None:
        """Lose no further packets."""
        self._lost.clear()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new connection."""
        task = asyncio.ensure_future(self._serve(reader, writer, self.target))
        self.open[task] = self.target
        task.add_done_callback(self.open.pop)

    @property
    def url(self) -> str:
        """The URL of the Redis behind the switch."""
        return f"redis://{HOST}:{self.port}"

    def count(self, target: int) -> int:
        """Open connections that lead to a port."""
        return list(self.open.values()).count(target)

    def lose_packets(self, target: int) -> None:
        """Lose every packet of the connections to a port, in both directions; none is closed."""
        self._lost.add(target)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int
    ) -> None:
        remote: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError):
                remote_reader, remote = await asyncio.open_connection(HOST, target)
                ways = [
                    asyncio.ensure_future(self._forward(reader, remote, target)),
                    asyncio.ensure_future(self._forward(remote_reader, writer, target)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)
        finally:
            for each in (writer, remote):
                if each is not None:
                    each.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int
    ) -> None:
        with suppress(OSError):
            while received := await reader.read(READ_BYTES):
                if target in self._lost:
                    self.lost_count += 1
                else:
                    writer.write(received)
                    await writer.drain()


@asynccontextmanager
async def start_switch(target: int) -> AsyncIterator[TcpSwitch]:
    """Run a switch that leads to a port, for as long as the block."""
    switch = TcpSwitch(target)
    server = await asyncio.start_server(switch.accept, HOST, 0)
    switch.port = server.sockets[0].getsockname()[1]
    try:
        yield switch
    finally:
        server.close()
        for task in list(switch.open):
            task.cancel()
        await asyncio.gather(*switch.open, return_exceptions=True)
