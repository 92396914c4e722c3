"""Memory, file descriptors and metrics of a server process."""

import os
from pathlib import Path

from bench.common.harness import RunningServer


def rss_bytes(pid: int) -> int:
    """Resident memory of a process without its children. Source: proc(5), statm. Units: bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def count_open_files(pid: int) -> int:
    """Number of open file descriptors of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def read_metric(site: RunningServer, series: str) -> float:
    """Sum of the server's metric series that begin with a name; 0 if there are none."""
    async with site.session.get(f"{site.url}/metrics") as answer:
        text = await answer.text()
    values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(series)]
    return sum(map(float, values))
