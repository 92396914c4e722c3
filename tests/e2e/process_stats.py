"""What a process holds, as the kernel counts it."""

import os
from pathlib import Path

from bench.common.harness import RunningServer


def rss_bytes(pid: int) -> int:
    """Memory that a process has in RAM, without its children. Source: proc(5), statm."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def count_open_files(pid: int) -> int:
    """File descriptors of a process, its connections above all."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def read_metric(site: RunningServer, series: str) -> float:
    """One figure of a server's own; 0 where the series has none yet."""
    async with site.session.get(f"{site.url}/metrics") as answer:
        text = await answer.text()
    values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(series)]
    return sum(map(float, values))
