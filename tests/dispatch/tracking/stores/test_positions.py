"""The riders' index on a real Redis: what is near is found, whatever stands in between."""

import random
from collections.abc import Sequence
from typing import Any

import h3
import msgspec
import pytest
import pytest_asyncio

from dispatch import keys
from dispatch.ids import OrderId, RiderId
from dispatch.model import Position
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores import geo_cells
from dispatch.tracking.stores.geo_cells import BoundingBox, Circle, cell_of
from dispatch.tracking.stores.positions import (
    IndexRemoval,
    Positions,
    PositionUpdate,
    decode_node_message,
)
from dispatch.tracking.stores.rider_facts import IndexedRider, RiderFacts
from matching.geo import haversine_m

pytestmark = [pytest.mark.redis_cluster, pytest.mark.engines]

NOW_MS = 1_763_000_000_000
FRESH_MS = 15_000
LOST_MS = 45_000
DOUALA = (4.0511, 9.7085)

FREE = RiderFacts(
    available=True, active=0, rating=4.7, completion=91.0, vehicle="CAR", name="Ngo Élise"
)
BUSY = RiderFacts(available=True, active=1)
OFF = RiderFacts(available=False, active=0)


@pytest_asyncio.fixture(loop_scope="session")
async def positions(redis: RedisClients) -> Positions:
    """An empty index."""
    return Positions(redis.commands, Scripts(redis.commands), "node-a", LOST_MS)


def position_update(
    rider_id: str,
    at: tuple[float, float],
    facts: RiderFacts = FREE,
    seen_at_ms: int = NOW_MS,
    **extra: Any,
) -> PositionUpdate:
    position = Position(lat=at[0], lng=at[1], ts=seen_at_ms - 200, received_at=seen_at_ms)
    return PositionUpdate(
        rider_id=rider_id, position=position, facts=facts, cell=cell_of(*at), **extra
    )


def rider_ids(found: Sequence[IndexedRider]) -> list[str]:
    return [each.rider_id for each in found]


def brute_force_search(batch: Sequence[PositionUpdate], circle: Circle) -> list[str]:
    """Who is inside the circle, nearest first, by looking at everyone."""
    far = [
        (haversine_m(circle.lat, circle.lng, p.position.lat, p.position.lng) / 1000, p.rider_id)
        for p in batch
    ]
    return [rider_id for km, rider_id in sorted(far) if km <= circle.radius_km]


async def test_a_rider_is_found_with_all_that_is_known_of_him(positions: Positions):
    """One search gives a rider's place, age and facts as they were put."""
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
    [seen] = await positions.find_nearest_free(Circle(*DOUALA, 5), 10, NOW_MS, FRESH_MS)
    assert seen.distance_km == pytest.approx(haversine_m(*DOUALA, 4.06, 9.71) / 1000)
    assert (seen.rider_id, seen.lat, seen.lng, seen.ts) == ("rdr_1", 4.06, 9.71, NOW_MS - 300)
    assert (seen.heading, seen.speed, seen.accuracy) == (90.0, None, 6.5)
    assert (seen.seen_at_ms, seen.completion, seen.rating) == (NOW_MS, 88.5, None)
    assert (seen.recent_offers, seen.cash_headroom_xaf) == (3, 50_000)
    assert (seen.vehicle, seen.name, seen.capacity) == ("MOTORBIKE", "Ngo Élise", 2)
    assert seen.is_free
    assert seen.duty_status == "idle"
    assert await positions.last_position("rdr_1") == position
    assert await positions.last_position("rdr_unknown") is None


@pytest.mark.parametrize("radius_km", [0.3, 1.5, 5, 7, 20])
async def test_the_nearest_are_those_that_counting_finds(positions: Positions, radius_km: float):
    """Around corners where three cells meet, a search is equal to looking at every rider."""
    rng = random.Random(7)
    corner = h3.cell_to_boundary(cell_of(*DOUALA))[0]
    batch = [
        position_update(
            f"rdr_{i}", (corner[0] + rng.gauss(0, 0.05), corner[1] + rng.gauss(0, 0.05))
        )
        for i in range(600)
    ]
    await positions.put(batch)
    centres = [corner, (corner[0] + 1e-9, corner[1]), DOUALA]
    for centre in centres:
        circle = Circle(centre[0], centre[1], radius_km)
        expected = brute_force_search(batch, circle)
        assert (
            rider_ids(await positions.find_nearest_free(circle, 1000, NOW_MS, FRESH_MS)) == expected
        )
        assert (
            rider_ids(await positions.find_nearest_free(circle, 20, NOW_MS, FRESH_MS))
            == expected[:20]
        )
    assert len({each.cell for each in batch}) >= 3


@pytest.mark.parametrize("centre", [(0.0, 179.999), (60.0, -180.0), (85.05, 20.0), (-33.9, 151.2)])
async def test_the_ends_of_the_map(positions: Positions, centre: tuple[float, float]):
    """Across the date line and at the map's edge a search finds what counting finds."""
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
    assert rider_ids(
        await positions.find_nearest_free(circle, 500, NOW_MS, FRESH_MS)
    ) == brute_force_search(batch, circle)


async def test_many_busy_riders_do_not_hide_a_free_one(positions: Positions):
    """A thousand nearer riders who cannot take the order never crowd out the one who can."""
    crowd = [position_update(f"busy_{i}", (4.0511 + i * 1e-6, 9.7085), BUSY) for i in range(1000)]
    await positions.put([*crowd, position_update("free", (4.08, 9.73))])
    found = await positions.find_nearest_free(Circle(*DOUALA, 5), 1, NOW_MS, FRESH_MS)
    assert rider_ids(found) == ["free"]
    assert len(await positions.find_nearest(Circle(*DOUALA, 5), 2000, NOW_MS)) == 1001


@pytest.mark.parametrize("radius_km", [2, 5, 40])
async def test_riders_who_become_scarce_are_still_found(positions: Positions, radius_km: float):
    """A search that learnt to look close by looks further again when nobody is close any more."""
    rng = random.Random(2)
    batch = [
        position_update(
            f"rdr_{i:03}", (DOUALA[0] + rng.gauss(0, 0.02), DOUALA[1] + rng.gauss(0, 0.02))
        )
        for i in range(400)
    ]
    circle = Circle(*DOUALA, radius_km)
    await positions.put(batch)
    nearest = brute_force_search(batch, circle)
    for taken in (0, 0, 5, 100, 300, 390):
        hired = [each for each in batch if each.rider_id in nearest[:taken]]
        await positions.put([msgspec.structs.replace(each, facts=BUSY) for each in hired])
        found = await positions.find_nearest_free(circle, 5, NOW_MS, FRESH_MS)
        assert rider_ids(found) == nearest[taken : taken + 5]


async def test_what_was_enough_for_some_is_tried_for_some_more(
    positions: Positions, monkeypatch: pytest.MonkeyPatch
):
    """Each open offer lets a search ask for one more rider; it looked twice each time."""
    rng = random.Random(4)
    batch = [
        position_update(
            f"rdr_{i:03}", (DOUALA[0] + rng.gauss(0, 0.02), DOUALA[1] + rng.gauss(0, 0.02))
        )
        for i in range(400)
    ]
    await positions.put(batch)
    circle, looks = Circle(*DOUALA, 40), []
    search = positions._search

    async def looking(*given: Any) -> list[IndexedRider]:
        looks.append(given[1].radius_km)
        return await search(*given)

    monkeypatch.setattr(positions, "_search", looking)
    for limit in range(64, 128):
        found = await positions.find_nearest_free(circle, limit, NOW_MS, FRESH_MS)
        assert rider_ids(found) == brute_force_search(batch, circle)[:limit]
    assert len(looks) <= 66


async def test_many_silent_riders_do_not_hide_a_fresh_one(positions: Positions):
    """Riders who fell silent and are still indexed are passed over, however many are nearer."""
    old_ms = NOW_MS - FRESH_MS - 1
    crowd = [
        position_update(f"r{i}", (4.0511 + i * 1e-6, 9.7085), seen_at_ms=old_ms) for i in range(500)
    ]
    await positions.put([*crowd, position_update("fresh", (4.06, 9.71))])
    assert rider_ids(
        await positions.find_nearest_free(Circle(*DOUALA, 5), 1, NOW_MS, FRESH_MS)
    ) == ["fresh"]


async def test_only_the_usable_are_found(positions: Positions):
    """Off duty, full hands or an old fix keep a rider out; operators see all who are not lost."""
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
    assert rider_ids(await positions.find_nearest_free(circle, 9, NOW_MS, FRESH_MS)) == [
        "free",
        "just fresh",
        "one of two",
    ]
    seen = {
        each.rider_id: each.duty_status for each in await positions.find_nearest(circle, 9, NOW_MS)
    }
    assert seen == {
        "free": "idle",
        "one of two": "busy",
        "busy": "busy",
        "off": "off",
        "just fresh": "idle",
        "stale": "idle",
    }


async def test_who_moves_to_another_cell_stands_in_one_only(
    positions: Positions, redis: RedisClients
):
    """After a move the cell that was left holds nothing of the rider."""
    there = (DOUALA[0] + 0.2, DOUALA[1])
    await positions.put([position_update("rdr_1", DOUALA)])
    await positions.put([position_update("rdr_1", there, previous_cell=cell_of(*DOUALA))])
    old, new = cell_of(*DOUALA), cell_of(*there)
    assert await redis.commands.zrange(keys.riders_geo(old), 0, -1) == []
    assert await redis.commands.hlen(keys.riders_facts(old)) == 0
    assert await redis.commands.zrange(keys.riders_geo(new), 0, -1) == [b"rdr_1"]
    assert await positions.find_nearest_free(Circle(*DOUALA, 1), 9, NOW_MS, FRESH_MS) == []


async def test_a_leftover_in_another_cell_is_not_a_second_rider(positions: Positions):
    """A rider left in two cells by a lost node is found once, where he was seen last."""
    there = (DOUALA[0] + 0.08, DOUALA[1])
    await positions.put([position_update("rdr_1", DOUALA, seen_at_ms=NOW_MS - 5000)])
    await positions.put([position_update("rdr_1", there)])
    assert cell_of(*DOUALA) != cell_of(*there)
    [seen] = await positions.find_nearest_free(Circle(*DOUALA, 12), 9, NOW_MS, FRESH_MS)
    assert (seen.lat, seen.seen_at_ms) == (there[0], NOW_MS)


async def test_leaving_the_index(positions: Positions):
    """A rider leaves with his place and facts; one who was seen after that stays."""
    await positions.put([position_update("gone", DOUALA), position_update("back", DOUALA)])
    await positions.remove("gone", cell_of(*DOUALA), NOW_MS)
    await positions.put([], [IndexRemoval("back", cell_of(*DOUALA), NOW_MS - 1)])
    assert rider_ids(await positions.find_nearest(Circle(*DOUALA, 1), 9, NOW_MS)) == ["back"]


async def test_a_sweep_takes_the_lost_and_leaves_the_others(
    positions: Positions, redis: RedisClients
):
    """Sweeps empty the index of lost riders, keep the rest, and forget cells that hold nobody."""
    rng = random.Random(5)
    lost = [
        position_update(
            f"lost_{i}", (4 + rng.random(), 9 + rng.random()), seen_at_ms=NOW_MS - LOST_MS - 1
        )
        for i in range(900)
    ]
    await positions.put(lost)
    await positions.put([position_update(f"here_{i}", (4.5, 9.5 + i * 1e-4)) for i in range(50)])
    removed = [await positions.sweep(NOW_MS) for _ in range(60)]
    assert sum(removed) == 900
    assert len({each.cell for each in lost}) > 64
    left = set(await redis.commands.zrange(keys.riders_cells(), 0, -1))
    assert left == {cell_of(4.5, 9.5 + i * 1e-4).encode() for i in range(50)}
    assert len(await positions.find_nearest(Circle(4.5, 9.5, 5), 99, NOW_MS)) == 50


async def test_a_sweep_of_a_full_cell_goes_on_where_it_stopped(positions: Positions):
    """A cell with more lost riders than one sweep looks at is emptied by the next ones."""
    crowd = [position_update(f"r{i}", DOUALA, seen_at_ms=NOW_MS - LOST_MS - 1) for i in range(3000)]
    await positions.put(crowd)
    first = await positions.sweep(NOW_MS)
    assert 0 < first < 3000
    assert first + sum([await positions.sweep(NOW_MS) for _ in range(40)]) == 3000
    assert await positions.sweep(NOW_MS) == 0


@pytest.mark.parametrize(
    "box",
    [
        BoundingBox(4.0, 9.6, 4.1, 9.8),
        BoundingBox(4.0511, 9.7085, 4.0511, 9.7085),
        BoundingBox(-60, -170, 60, 170),
    ],
)
async def test_the_riders_inside_a_window(positions: Positions, box: BoundingBox):
    """A map window shows everyone inside it and nobody else, from a doorstep to the world."""
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
    found = await positions.find_in_box(box, NOW_MS - LOST_MS)
    inside = {p.rider_id for p in batch if box.contains(p.position.lat, p.position.lng)}
    assert sorted(rider_ids(found)) == sorted(inside | {"middle"})
    assert await positions.find_in_box(box, NOW_MS + 1) == []


async def test_a_window_across_the_date_line(positions: Positions):
    """A window whose west lies east of its east holds both shores of the line."""
    await positions.put(
        [
            position_update("fiji", (-17, 179.9)),
            position_update("samoa", (-17, -179.9)),
            position_update("far", (-17, 178)),
        ]
    )
    found = await positions.find_in_box(BoundingBox(-18, 179.5, -16, -179.5), 0)
    assert sorted(rider_ids(found)) == ["fiji", "samoa"]


async def test_a_trail_is_kept_in_order_once_and_for_a_day(
    positions: Positions, redis: RedisClients
):
    """A repeated flush and a late fix leave a trail in the order of time, each fix once."""
    fixes = [Position(lat=4, lng=9, ts=NOW_MS + i, received_at=NOW_MS + i) for i in range(3)]
    late = Position(lat=4, lng=9, ts=NOW_MS - 9, received_at=NOW_MS + 50)
    batch = [position_update("rdr_1", DOUALA, BUSY, trail=[("ord_1", fix) for fix in fixes])]
    await positions.put(batch)
    await positions.put(batch)
    await positions.put([position_update("rdr_1", DOUALA, BUSY, trail=[("ord_1", late)])])
    assert await positions.read_trail("ord_1", "rdr_1") == [late, *fixes]
    assert await positions.read_trail("ord_1", "rdr_2") == []
    assert await positions.read_trail("ord_2", "rdr_1") == []
    ttl_s = await redis.commands.ttl(keys.order_trail(OrderId("ord_1")))
    assert 23 * 3600 < ttl_s <= 24 * 3600
    assert 290 < await redis.commands.ttl(keys.rider_fix(RiderId("rdr_1"))) <= 300


@pytest.mark.one_redis
async def test_other_nodes_receive_a_position(positions: Positions, redis: RedisClients):
    """What is put is published on the order's channel with the node that has told its own."""
    async with redis.listener.pubsub() as listener:
        await listener.ssubscribe(keys.order_positions(OrderId("ord_1")))
        assert await listener.get_message(timeout=5)
        await positions.put(
            [position_update("rdr_1", DOUALA, BUSY, packets=[("ord_1", b'42/user,["x"]')])]
        )
        message = await listener.get_message(timeout=5)
    assert message is not None
    assert decode_node_message(message["data"]) == (b"node-a", b'42/user,["x"]')


async def test_a_restarted_redis_gets_its_scripts_again(positions: Positions, redis: RedisClients):
    """Scripts that Redis has forgotten are sent anew within the same call."""
    await positions.put([position_update("rdr_1", DOUALA)])
    await redis.commands.script_flush()
    assert rider_ids(
        await positions.find_nearest_free(Circle(*DOUALA, 8), 9, NOW_MS, FRESH_MS)
    ) == ["rdr_1"]


async def test_a_line_of_another_version_is_left_out(positions: Positions, redis: RedisClients):
    """A line that a newer server wrote is not misread; the rider's next fix here replaces it."""
    await positions.put([position_update("ours", DOUALA), position_update("theirs", DOUALA)])
    strange = b"\x02" + bytes(200)
    await redis.commands.hset(keys.riders_facts(cell_of(*DOUALA)), "theirs", strange)
    assert rider_ids(
        await positions.find_nearest_free(Circle(*DOUALA, 1), 9, NOW_MS, FRESH_MS)
    ) == ["ours"]
    assert rider_ids(await positions.find_nearest(Circle(*DOUALA, 1), 9, NOW_MS)) == ["ours"]
    assert rider_ids(await positions.find_in_box(BoundingBox(4, 9, 5, 10), 0)) == ["ours"]
    await positions.put([position_update("theirs", DOUALA)])
    assert len(await positions.find_nearest_free(Circle(*DOUALA, 1), 9, NOW_MS, FRESH_MS)) == 2


@pytest.mark.parametrize(("radius_km", "most"), [(1.5, 4), (5, 9), (7, 13)])
def test_a_search_touches_few_cells(radius_km: float, most: int):
    """A search asks only cells that its circle touches: a handful, wherever it stands."""
    rng = random.Random(1)
    counts = [
        len(
            geo_cells.cells_in_circle(Circle(4 + rng.random(), 9 + rng.random(), radius_km))
            or range(999)
        )
        for _ in range(200)
    ]
    assert max(counts) <= most


def test_an_area_of_a_thousand_cells_is_not_listed():
    """Areas too wide to list say so, and the cells in use are asked instead."""
    assert geo_cells.cells_in_circle(Circle(*DOUALA, 500)) is None
    assert geo_cells.cells_in_box(BoundingBox(-60, -170, 60, 170)) is None


@pytest.mark.parametrize("cell_count", [300])
def test_no_cell_that_touches_is_missed(cell_count: int):
    """Every point within reach lies in a listed cell, at random places of the whole globe."""
    rng = random.Random(23)
    for _ in range(cell_count):
        centre = (rng.uniform(-80, 80), rng.uniform(-180, 180))
        circle = Circle(*centre, rng.uniform(0.1, 12))
        listed = set(geo_cells.cells_in_circle(circle) or ())
        offsets = [(rng.gauss(0, 0.05), rng.gauss(0, 0.05)) for _ in range(40)]
        points = [(centre[0] + dy, (centre[1] + dx + 180) % 360 - 180) for dy, dx in offsets]
        near = [p for p in points if haversine_m(*centre, *p) <= circle.radius_km * 1000]
        assert {cell_of(*point) for point in near} <= listed
