"""The benches over real servers run, and hold what does not depend on how fast a machine is."""

import zipfile
from pathlib import Path

import pytest

from bench import cadence, jumps, offer_latency, two_nodes
from bench.common.traces import ARCHIVE

# Far above what a small size takes; a busy machine is no reason to fail.
RUN_S = 240


@pytest.mark.slow
@pytest.mark.timeout(RUN_S)
async def test_the_bench_of_two_nodes_runs(tmp_path: Path):
    """Every fix crosses, none goes backwards, and both costs are something."""
    figures = await two_nodes.measure(two_nodes.Size(pairs=8, seconds=1.0), tmp_path)

    assert figures["cross_lost"] == 0
    assert all(
        isinstance(figures[name], float) and figures[name] > 0
        for name in ("cross_p50_ms", "raw_pubsub_p50_ms", "one_cpu_us_per_fix", "two_to_one")
    )
    assert two_nodes.verdict(figures) in {"goal", "floor", "missed"}


@pytest.mark.slow
@pytest.mark.timeout(RUN_S)
async def test_the_bench_of_offers_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every order is offered to somebody, with more riders in the index than are connected."""
    monkeypatch.setattr(offer_latency, "SPARE_RIDERS", 6)
    size = offer_latency.Size(orders=4, riders=200)
    figures = await offer_latency.measure(size, 1, tmp_path)

    assert figures["connected_riders"] == 10
    assert figures["accept_to_offer_p99_ms"] > figures["raw_engines_p50_ms"] > 0
    assert offer_latency.verdict(figures) in {"goal", "floor", "missed"}


@pytest.mark.slow
@pytest.mark.timeout(RUN_S)
async def test_cadences_spare_messages_in_a_small_city():
    """Riders who do as they are told send fewer fixes than one pace for all would need."""
    figures = await cadence.measure(riders=8, seconds=18.0, seed=1)

    assert figures["fixes_sent"] < figures["without_at_close"]
    assert figures["spared_of_on_job"] < figures["spared_of_close"]


def test_the_bench_of_jumps_finds_what_it_has_planted(tmp_path: Path):
    """On a straight drive every far jump is refused and every true fix is taken."""
    lines = ["timestamp,x,y,groundtruth"]
    lines += [f"1964-01-12 00:00:{at * 2:02}.000000000,{at * 16},0.0,Driving" for at in range(30)]
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        archive.writestr("data/trajectory_0001.csv", "\n".join(lines))
    figures = jumps.measure(tmp_path, every=1, seed=1)

    assert (figures["traces"], figures["true_fixes"], figures["false_flags"]) == (1, 29, 0.0)
    assert (figures["planted_1000_m"], figures["flagged_1000_m"]) == (3, 1.0)
    assert jumps.is_good(figures)
    assert not jumps.is_good({**figures, "flagged_3000_m": 0.98})
    assert not jumps.is_good({**figures, "false_flags": 0.006})
