"""Draws the console's basemap of Douala: `python console/map/draw_map.py` writes douala.json.

A schematic map: banks, islands and main roads are drawn by hand after a city plan, exact to about
200 m; the small streets are those of the simulated city, so that its riders follow them.
"""

# ruff: noqa: INP001
import itertools
import json
import math
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from city.model.streets import (  # noqa: E402
    AIRPORT,
    AVENUE_FACTOR,
    DISTRICTS,
    LAND,
    Node,
    Point,
    Streets,
    build_streets,
    to_degrees,
    to_metres,
)

Degrees = tuple[float, float]
# Coordinates are whole steps of 0.00001 degree, about 1.1 m.
STEPS_PER_DEGREE = 100_000
# Segments of the curve between two drawn points.
CURVE_SEGMENTS = 5

# All below: latitude, longitude. The city's bank of the Wouri is part of LAND; these points
# continue it upstream and downstream, and back along the western bank.
UPSTREAM = (
    (4.108, 9.735), (4.119, 9.747), (4.129, 9.762), (4.141, 9.776), (4.160, 9.789), (4.2, 9.81),
)  # fmt: skip
WEST_BANK = (
    (4.2, 9.795), (4.166, 9.776), (4.151, 9.765), (4.140, 9.747), (4.129, 9.734), (4.117, 9.722),
    (4.106, 9.712), (4.096, 9.704), (4.086, 9.697), (4.077, 9.690), (4.070, 9.684), (4.063, 9.674),
    (4.052, 9.666), (4.041, 9.658), (4.031, 9.648), (4.018, 9.637), (4.006, 9.629), (3.990, 9.617),
    (3.972, 9.603), (3.950, 9.588), (3.920, 9.560), (3.880, 9.520),
)  # fmt: skip
SOUTH_BANK = (
    (3.88, 9.69), (3.905, 9.682), (3.925, 9.688), (3.946, 9.679), (3.962, 9.684), (3.977, 9.679),
    (3.985, 9.690), (3.981, 9.704), (3.986, 9.712), (3.992, 9.707), (3.996, 9.701),
)  # fmt: skip
ISLANDS = (
    # Jebale, above the bridge.
    ((4.092, 9.707), (4.098, 9.712), (4.104, 9.717), (4.107, 9.722), (4.1, 9.721)),
    ((4.114, 9.7290), (4.119, 9.7330), (4.122, 9.7385), (4.117, 9.7360)),
    # Mangrove in the estuary.
    ((4.018, 9.652), (4.025, 9.6555), (4.022, 9.660), (4.012, 9.658), (4.006, 9.652)),
    ((3.996, 9.642), (4.002, 9.648), (3.994, 9.654), (3.982, 9.65), (3.978, 9.641), (3.986, 9.637)),
    ((3.968, 9.655), (3.976, 9.662), (3.966, 9.669), (3.952, 9.664), (3.956, 9.656)),
    ((3.958, 9.625), (3.968, 9.632), (3.958, 9.640), (3.944, 9.635), (3.940, 9.624)),
)  # fmt: skip
CREEKS = (
    # Behind the airport, towards the Dibamba.
    ((3.985, 9.712), (3.978, 9.722), (3.981, 9.733), (3.974, 9.745), (3.966, 9.752), (3.955, 9.77)),
    ((3.946, 9.679), (3.953, 9.699), (3.947, 9.716), (3.955, 9.730), (3.966, 9.752)),
    # The Dibamba.
    ((3.88, 9.74), (3.91, 9.756), (3.932, 9.775), (3.955, 9.77), (3.968, 9.795), (3.989, 9.814),
     (4.012, 9.829), (4.037, 9.838), (4.058, 9.853), (4.084, 9.862), (4.12, 9.88)),
    # Through the marshes of Bonaberi.
    ((4.063, 9.674), (4.072, 9.663), (4.069, 9.648), (4.079, 9.634), (4.075, 9.615), (4.083, 9.59)),
)  # fmt: skip

# Main roads inside the city follow its streets from corner to corner; outside they are as drawn.
MAIN_ROADS = {
    "Boulevard de la Liberte": ((4.036, 9.690), (4.049, 9.701), (4.0640, 9.7105)),
    "Boulevard de la Republique": ((4.0640, 9.7130), (4.0485, 9.7160), (4.0330, 9.7130)),
    "Avenue de l'Aeroport": ((4.0400, 9.6935), (4.0250, 9.6990), (4.0215, 9.7110)),
    "Axe Bonapriso - New Bell": ((4.0250, 9.6990), (4.0330, 9.7130), (4.0450, 9.7420)),
    "Axe Deido - Ndokoti": ((4.0640, 9.7130), (4.0570, 9.7270), (4.0450, 9.7420)),
    "Axe Nord": ((4.0640, 9.7130), (4.0760, 9.7230), (4.0870, 9.7380)),
    "Axe Bonamoussadi - Logbessou": (
        (4.0870, 9.7380), (4.0790, 9.7540), (4.0830, 9.7690), (4.0920, 9.7820),
    ),
    "Axe Makepe - Ndokoti": ((4.0790, 9.7540), (4.0590, 9.7600), (4.0450, 9.7420)),
    "Axe Nyalla": ((4.0450, 9.7420), (4.0300, 9.7760)),
    "Rue Bali": ((4.0330, 9.7130), (4.0385, 9.7000), (4.0400, 9.6900)),
}  # fmt: skip
OUTER_ROADS = (
    # Over the Wouri bridge to Bonaberi and the west.
    ((4.0640, 9.7060), (4.0680, 9.7010), (4.0765, 9.6860), (4.0840, 9.6760), (4.0930, 9.6630),
     (4.1030, 9.6460), (4.1120, 9.6230), (4.1200, 9.5900)),
    ((4.0765, 9.6860), (4.0900, 9.6930), (4.1050, 9.7030), (4.1200, 9.7150)),
    # To Edea.
    ((4.0300, 9.7760), (4.0180, 9.8010), (4.0040, 9.8240), (3.9900, 9.8500), (3.9700, 9.8900)),
    # To Yabassi.
    ((4.0590, 9.7600), (4.0680, 9.7900), (4.0830, 9.8080), (4.1020, 9.8230), (4.1300, 9.8360)),
    ((4.0920, 9.7820), (4.1020, 9.8230)),
    # To the airport, and on to Youpwe.
    ((4.0215, 9.7110), (4.0100, 9.7050), (3.9990, 9.7080)),
)  # fmt: skip
RAILWAY = (
    (4.0520, 9.6935), (4.0560, 9.7040), (4.0540, 9.7150), (4.0480, 9.7290), (4.0420, 9.7450),
    (4.0330, 9.7640), (4.0220, 9.7880), (4.0080, 9.8110), (3.9940, 9.8390), (3.9700, 9.8750),
)  # fmt: skip
RUNWAY = ((4.0145, 9.7090), (4.0025, 9.7318))
PLACES = {
    "Bonaberi": (4.0800, 9.6740),
    "Youpwe": (4.0010, 9.6985),
    "PK 14": (4.0830, 9.8080),
    "Japoma": (4.0080, 9.8080),
}
WATERS = {
    "Wouri": (4.0560, 9.6820),
    "Estuaire du Wouri": (4.0050, 9.6640),
    "Dibamba": (4.0000, 9.8220),
}


def main() -> None:
    """Write douala.json."""
    (HERE / "douala.json").write_text(render_map(), encoding="utf-8")


def render_map() -> str:
    """The map as one line of JSON."""
    streets = build_streets()
    city_bank = LAND[:-2]
    water = (*city_bank, *UPSTREAM, *WEST_BANK, *SOUTH_BANK)
    map_of_douala = {
        "water": [encode_line(smooth_curve((*water, water[0])))],
        "islands": [encode_line(smooth_curve((*island, island[0]))) for island in ISLANDS],
        "creeks": [encode_line(smooth_curve(creek)) for creek in CREEKS],
        "airport": [encode_ring(AIRPORT)],
        "runway": [encode_line(RUNWAY)],
        "streets": encode_streets(streets, is_avenue=False),
        "avenues": encode_streets(streets, is_avenue=True),
        "roads": [encode_street_route(streets, road) for road in MAIN_ROADS.values()]
        + [encode_line(smooth_curve(road)) for road in OUTER_ROADS],
        "railway": [encode_line(smooth_curve(RAILWAY))],
        "districts": [
            {
                "name": district.name,
                "at": to_steps((district.lat, district.lng)),
                "rank": district.weight,
            }
            for district in DISTRICTS
        ],
        "places": [{"name": name, "at": to_steps(at), "rank": 1} for name, at in PLACES.items()],
        "waters": [{"name": name, "at": to_steps(at), "rank": 1} for name, at in WATERS.items()],
    }
    return json.dumps(map_of_douala, separators=(",", ":")) + "\n"


def to_steps(position: Degrees) -> list[int]:
    """Longitude and latitude. Units: whole steps."""
    return [round(position[1] * STEPS_PER_DEGREE), round(position[0] * STEPS_PER_DEGREE)]


def encode_line(points: tuple[Degrees, ...] | list[Degrees]) -> list[int]:
    """Encode a line: longitude, latitude, then differences from point to point. Units: steps."""
    steps = [to_steps(point) for point in points]
    flat = list(steps[0])
    for before, after in itertools.pairwise(steps):
        flat += [after[0] - before[0], after[1] - before[1]]
    return flat


def smooth_curve(points: tuple[Degrees, ...]) -> list[Degrees]:
    """A smooth curve through the points; a closed line stays closed.

    Source: Catmull and Rom, "A class of local interpolating splines", 1974.
    """
    is_closed = points[0] == points[-1]
    before = points[-2] if is_closed else points[0]
    after = points[1] if is_closed else points[-1]
    padded = (before, *points, after)
    curve: list[Degrees] = [points[0]]
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        curve += [
            _catmull_rom((a, b, c, d), step / CURVE_SEGMENTS)
            for step in range(1, CURVE_SEGMENTS + 1)
        ]
    return curve


def _catmull_rom(control_points: tuple[Degrees, ...], t: float) -> Degrees:
    weights = (
        -t * (1 - t) ** 2 / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        t * (1 + 4 * t - 3 * t**2) / 2,
        -(t**2) * (1 - t) / 2,
    )
    lat = sum(weight * point[0] for weight, point in zip(weights, control_points, strict=True))
    lng = sum(weight * point[1] for weight, point in zip(weights, control_points, strict=True))
    return lat, lng


def encode_ring(points: tuple[Degrees, ...]) -> list[int]:
    """Encode a ring, closing the line."""
    return encode_line((*points, points[0]))


def encode_street_route(streets: Streets, corners: tuple[Degrees, ...]) -> list[int]:
    """Encode the route along the streets from corner to corner."""
    points: list[Point] = []
    for start, end in itertools.pairwise(corners):
        leg = streets.route(to_metres(*start), to_metres(*end)).points[1:-1]
        points += [point for point in leg if point not in points[-1:]]
    return encode_line([to_degrees(point) for point in points])


def encode_streets(streets: Streets, *, is_avenue: bool) -> list[list[int]]:
    """Encode the streets as lines that are as long as a street continues straight."""
    lines: list[list[int]] = []
    for direction in ((1, 0), (0, 1)):
        lines += [
            encode_line([to_degrees(streets.crossings[node]) for node in run])
            for run in _straight_runs(streets, direction, is_avenue=is_avenue)
        ]
    return lines


def _straight_runs(streets: Streets, direction: Node, *, is_avenue: bool) -> list[list[Node]]:
    def continues(node: Node) -> bool:
        ahead = (node[0] + direction[0], node[1] + direction[1])
        factor = streets.adjacency.get(node, {}).get(ahead)
        return factor is not None and math.isclose(factor, AVENUE_FACTOR) == is_avenue

    runs: list[list[Node]] = []
    for node in sorted(streets.crossings):
        behind = (node[0] - direction[0], node[1] - direction[1])
        if not continues(node) or continues(behind):
            continue
        run = [node]
        while continues(run[-1]):
            run.append((run[-1][0] + direction[0], run[-1][1] + direction[1]))
        runs.append(run)
    return runs


if __name__ == "__main__":
    main()
