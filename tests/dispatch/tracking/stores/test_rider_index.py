"""Searches of the geo index on a real Redis find the right riders, whatever else is indexed."""

import random
from collections.abc import Sequence
from typing import Any

import h3
import msgspec
import pytest

from dispatch import keys
from dispatch.model import Position
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores.geo_cells import BoundingBox, Circle, cell_of
from dispatch.tracking.stores.positions import Positions, PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.tracking.stores.rider_index import RiderIndex
from matching.geo import haversine_m
from tests.dispatch.tracking.stores.updates import (
    BUSY,
    DOUALA,
    FRESH_MS,
    LOST_MS,
    NOW_MS,
    OFF,
    brute_force_search,
    position_update,
    rider_ids,
)

pytestmark = [pytest.mark.redis_cluster, pytest.mark.engines]


def scattered(count: int, centre: tuple[float, float], spread: float, seed: int) -> Any:
    """Free riders around a place."""
    rng = random.Random(seed)
    return [
        position_update(
            f"rdr_{i:03}", (centre[0] + rng.gauss(0, spread), centre[1] + rng.gauss(0, spread))
        )
        for i in range(count)
    ]


async def test_a_found_rider_has_its_position_and_facts(
    positions: Positions, rider_index: RiderIndex
):
    """One search gives a rider's place, time and facts as they were written."""
    position = Position(
        lat=4.06, lng=9.71, ts=NOW_MS - 300, received_at=NOW_MS, heading=90.0, accuracy=6.5, seq=7
    )
    facts = RiderFacts(
        available=True,
        active=0,
        capacity=2,
        completion=88.5,
        recent_offers=3,
        cash_headroom_xaf=50_000,
        vehicle="MOTORBIKE",
        name="Ngo Élise",
    )
    cell = cell_of(4.06, 9.71)
    await positions.put(
        [PositionUpdate(rider_id="rdr_1", position=position, facts=facts, cell=cell)]
    )
    [found] = await rider_index.find_nearest_free(Circle(*DOUALA, 5), 10, NOW_MS, FRESH_MS)
    assert found.distance_km == pytest.approx(haversine_m(*DOUALA, 4.06, 9.71) / 1000)
    assert (found.rider_id, found.lat, found.lng, found.ts) == ("rdr_1", 4.06, 9.71, NOW_MS - 300)
    assert (found.heading, found.speed, found.accuracy) == (90.0, None, 6.5)
    assert (found.seen_at_ms, found.completion, found.rating) == (NOW_MS, 88.5, None)
    assert (found.recent_offers, found.cash_headroom_xaf) == (3, 50_000)
    assert (found.vehicle, found.name, found.capacity) == ("MOTORBIKE", "Ngo Élise", 2)
    assert found.is_free
    assert found.duty_status == "idle"


@pytest.mark.parametrize("radius_km", [0.3, 1.5, 5, 7, 20])
async def test_a_search_equals_brute_force(
    positions: Positions, rider_index: RiderIndex, radius_km: float
):
    """Around corners where three cells meet, a search equals looking at every rider."""
    corner = h3.cell_to_boundary(cell_of(*DOUALA))[0]
    batch = scattered(600, corner, 0.05, seed=7)
    await positions.put(batch)
    for centre in (corner, (corner[0] + 1e-9, corner[1]), DOUALA):
        circle = Circle(centre[0], centre[1], radius_km)
        expected = brute_force_search(batch, circle)
        all_found = await rider_index.find_nearest_free(circle, 1000, NOW_MS, FRESH_MS)
        some_found = await rider_index.find_nearest_free(circle, 20, NOW_MS, FRESH_MS)
        assert rider_ids(all_found) == expected
        assert rider_ids(some_found) == expected[:20]
    assert len({each.cell for each in batch}) >= 3


@pytest.mark.parametrize("centre", [(0.0, 179.999), (60.0, -180.0), (85.05, 20.0), (-33.9, 151.2)])
async def test_a_search_at_the_ends_of_the_map(
    positions: Positions, rider_index: RiderIndex, centre: tuple[float, float]
):
    """Across the date line and at the map's edge a search equals looking at every rider."""
    rng = random.Random(3)
    batch = [
        position_update(
            f"rdr_{i}",
            (
                min(centre[0] + rng.gauss(0, 0.02), 85.05),
                (centre[1] + rng.gauss(0, 0.02) + 180) % 360 - 180,
            ),
        )
        for i in range(200)
    ]
    await positions.put(batch)
    circle = Circle(*centre, 3)
    found = await rider_index.find_nearest_free(circle, 500, NOW_MS, FRESH_MS)
    assert rider_ids(found) == brute_force_search(batch, circle)


async def test_many_busy_riders_do_not_hide_a_free_one(
    positions: Positions, rider_index: RiderIndex
):
    """A thousand nearer busy riders never push a free one out of the result."""
    busy = [position_update(f"busy_{i}", (4.0511 + i * 1e-6, 9.7085), BUSY) for i in range(1000)]
    await positions.put([*busy, position_update("free", (4.08, 9.73))])
    found = await rider_index.find_nearest_free(Circle(*DOUALA, 5), 1, NOW_MS, FRESH_MS)
    assert rider_ids(found) == ["free"]
    assert len(await rider_index.find_nearest(Circle(*DOUALA, 5), 2000, NOW_MS)) == 1001


@pytest.mark.parametrize("radius_km", [2, 5, 40])
async def test_riders_who_become_scarce_are_still_found(
    positions: Positions, rider_index: RiderIndex, radius_km: float
):
    """A search that has learned a small radius widens it again when nobody near is free."""
    batch = scattered(400, DOUALA, 0.02, seed=2)
    circle = Circle(*DOUALA, radius_km)
    await positions.put(batch)
    nearest = brute_force_search(batch, circle)
    for taken in (0, 0, 5, 100, 300, 390):
        hired = [each for each in batch if each.rider_id in nearest[:taken]]
        await positions.put([msgspec.structs.replace(each, facts=BUSY) for each in hired])
        found = await rider_index.find_nearest_free(circle, 5, NOW_MS, FRESH_MS)
        assert rider_ids(found) == nearest[taken : taken + 5]


class CountingPipeline(Pipeline):
    """A pipeline that counts its round trips."""

    round_trips = 0

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        self.round_trips += 1
        return await super().run(commands)


async def test_a_slightly_higher_limit_reuses_the_learned_radius(
    positions: Positions, redis: RedisClients
):
    """64 searches, each for one rider more than the last, take at most 66 round trips.

    Each open offer lets a search ask for one more rider; every such search used to take two.
    """
    scripts = Scripts(redis.commands)
    await scripts.load()
    pipeline = CountingPipeline(redis.commands, scripts)
    rider_index = RiderIndex(pipeline, scripts, LOST_MS)
    batch = scattered(400, DOUALA, 0.02, seed=4)
    await positions.put(batch)
    circle = Circle(*DOUALA, 40)
    for limit in range(64, 128):
        found = await rider_index.find_nearest_free(circle, limit, NOW_MS, FRESH_MS)
        assert rider_ids(found) == brute_force_search(batch, circle)[:limit]
    assert pipeline.round_trips <= 66


async def test_many_silent_riders_do_not_hide_a_fresh_one(
    positions: Positions, rider_index: RiderIndex
):
    """Riders without a recent fix that are still indexed are skipped, however many are nearer."""
    old_ms = NOW_MS - FRESH_MS - 1
    silent = [
        position_update(f"r{i}", (4.0511 + i * 1e-6, 9.7085), seen_at_ms=old_ms) for i in range(500)
    ]
    await positions.put([*silent, position_update("fresh", (4.06, 9.71))])
    found = await rider_index.find_nearest_free(Circle(*DOUALA, 5), 1, NOW_MS, FRESH_MS)
    assert rider_ids(found) == ["fresh"]


async def test_only_free_and_fresh_riders_are_found(positions: Positions, rider_index: RiderIndex):
    """Off duty, at capacity or stale riders get no offers; operators see all but the lost."""
    await positions.put(
        [
            position_update("free", DOUALA),
            position_update("one of two", DOUALA, RiderFacts(available=True, active=1, capacity=2)),
            position_update("busy", DOUALA, BUSY),
            position_update("off", DOUALA, OFF),
            position_update("just fresh", DOUALA, seen_at_ms=NOW_MS - FRESH_MS),
            position_update("stale", DOUALA, seen_at_ms=NOW_MS - FRESH_MS - 1),
            position_update("lost", DOUALA, seen_at_ms=NOW_MS - LOST_MS - 1),
        ]
    )
    circle = Circle(*DOUALA, 1)
    free = await rider_index.find_nearest_free(circle, 9, NOW_MS, FRESH_MS)
    assert rider_ids(free) == ["free", "just fresh", "one of two"]
    everyone = await rider_index.find_nearest(circle, 9, NOW_MS)
    assert {each.rider_id: each.duty_status for each in everyone} == {
        "free": "idle",
        "one of two": "busy",
        "busy": "busy",
        "off": "off",
        "just fresh": "idle",
        "stale": "idle",
    }


async def test_a_leftover_in_another_cell_is_not_a_second_rider(
    positions: Positions, rider_index: RiderIndex
):
    """A rider left in two cells by a dead node is found once, at its newest position."""
    there = (DOUALA[0] + 0.08, DOUALA[1])
    await positions.put([position_update("rdr_1", DOUALA, seen_at_ms=NOW_MS - 5000)])
    await positions.put([position_update("rdr_1", there)])
    assert cell_of(*DOUALA) != cell_of(*there)
    [found] = await rider_index.find_nearest_free(Circle(*DOUALA, 12), 9, NOW_MS, FRESH_MS)
    assert (found.lat, found.seen_at_ms) == (there[0], NOW_MS)


@pytest.mark.parametrize(
    "box",
    [
        BoundingBox(4.0, 9.6, 4.1, 9.8),
        BoundingBox(4.0511, 9.7085, 4.0511, 9.7085),
        BoundingBox(-60, -170, 60, 170),
    ],
)
async def test_a_box_finds_exactly_the_riders_inside(
    positions: Positions, rider_index: RiderIndex, box: BoundingBox
):
    """A map window gives everyone inside it and nobody else, from one point to the world."""
    rng = random.Random(11)
    batch = [
        position_update(
            f"rdr_{i}", (DOUALA[0] + rng.gauss(0, 0.1), DOUALA[1] + rng.gauss(0, 0.1)), BUSY
        )
        for i in range(300)
    ]
    await positions.put(
        [*batch, position_update("middle", DOUALA), position_update("fiji", (-17, 179))]
    )
    found = await rider_index.find_in_box(box, NOW_MS - LOST_MS)
    inside = {p.rider_id for p in batch if box.contains(p.position.lat, p.position.lng)}
    assert sorted(rider_ids(found)) == sorted(inside | {"middle"})
    assert await rider_index.find_in_box(box, NOW_MS + 1) == []


async def test_a_box_across_the_date_line(positions: Positions, rider_index: RiderIndex):
    """A window whose west lies east of its east holds the riders on both sides of the line."""
    await positions.put(
        [
            position_update("fiji", (-17, 179.9)),
            position_update("samoa", (-17, -179.9)),
            position_update("far", (-17, 178)),
        ]
    )
    found = await rider_index.find_in_box(BoundingBox(-18, 179.5, -16, -179.5), 0)
    assert sorted(rider_ids(found)) == ["fiji", "samoa"]


async def test_a_scan_has_every_rider_once(positions: Positions, rider_index: RiderIndex):
    """A scan of the whole index has every rider seen since a time, each at its newest position."""
    there = (DOUALA[0] + 0.08, DOUALA[1])
    await positions.put([position_update("rdr_1", DOUALA, seen_at_ms=NOW_MS - 5000)])
    await positions.put([position_update("rdr_1", there), position_update("rdr_2", DOUALA, OFF)])
    await positions.put([position_update("old", DOUALA, seen_at_ms=NOW_MS - LOST_MS)])
    riders = (await rider_index.scan_all()).riders_since(NOW_MS - FRESH_MS)
    assert {each.rider_id: each.lat for each in riders} == {"rdr_1": there[0], "rdr_2": DOUALA[0]}


async def test_a_restarted_redis_gets_its_scripts_again(
    positions: Positions, rider_index: RiderIndex, redis: RedisClients
):
    """Scripts that Redis has forgotten are loaded again within the same call."""
    await positions.put([position_update("rdr_1", DOUALA)])
    await redis.commands.script_flush()
    found = await rider_index.find_nearest_free(Circle(*DOUALA, 8), 9, NOW_MS, FRESH_MS)
    assert rider_ids(found) == ["rdr_1"]


async def test_an_entry_of_another_layout_version_is_skipped(
    positions: Positions, rider_index: RiderIndex, redis: RedisClients
):
    """An entry of a newer server is not misread; the rider's next fix here replaces it."""
    await positions.put([position_update("ours", DOUALA), position_update("theirs", DOUALA)])
    other_version = b"\x02" + bytes(200)
    await redis.commands.hset(keys.riders_facts(cell_of(*DOUALA)), "theirs", other_version)
    circle = Circle(*DOUALA, 1)
    free = await rider_index.find_nearest_free(circle, 9, NOW_MS, FRESH_MS)
    assert rider_ids(free) == ["ours"]
    assert rider_ids(await rider_index.find_nearest(circle, 9, NOW_MS)) == ["ours"]
    assert rider_ids(await rider_index.find_in_box(BoundingBox(4, 9, 5, 10), 0)) == ["ours"]
    await positions.put([position_update("theirs", DOUALA)])
    assert len(await rider_index.find_nearest_free(circle, 9, NOW_MS, FRESH_MS)) == 2
