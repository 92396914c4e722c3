"""Streets of a simulated Douala: districts, a road graph on land, and routes along it."""

import heapq
import itertools
import math
from dataclasses import dataclass, field
from random import Random

from city.model.seeded_random import seeded_random

# A point in metres east and north of the origin.
Point = tuple[float, float]
Node = tuple[int, int]

# Middle of the bounding box 4.00-4.10 N, 9.67-9.80 E in which the city lies.
ORIGIN_LAT, ORIGIN_LNG = 4.05, 9.735
# Source: WGS 84 at 4 degrees north; an error of 0.1 % over the 14 km of the city.
METRES_PER_LAT = 110_580.0
METRES_PER_LNG = 111_320.0 * math.cos(math.radians(ORIGIN_LAT))

# Source: estimated from a city plan of Akwa and New Bell: blocks of about 200 m, turned by 28
# degrees. The rest of the city follows the same pattern; nothing here is surveyed.
BLOCK_M = 200.0
GRID_ANGLE = math.radians(28)
CROSSING_JITTER_M = 38.0
MISSING_STREETS = 0.12
AVENUE_EVERY = 5
AVENUE_FACTOR = 1.3
STREET_FACTOR = 0.9
# The streets are the same in every run; the seed of a run only decides what happens on them.
STREETS_SEED = 237


@dataclass(frozen=True, slots=True)
class District:
    """A district of the city; `weight` is its share of shops and customers. Units: degrees."""

    name: str
    lat: float
    lng: float
    weight: float
    radius_m: float = 500.0


# Source: centres read from a city plan to about 200 m; how busy they are is a guess.
DISTRICTS = (
    District("Akwa", 4.0490, 9.7010, 5.0, 650),
    District("Bonanjo", 4.0400, 9.6900, 3.0, 450),
    District("Bonapriso", 4.0250, 9.6990, 3.0, 550),
    District("Bali", 4.0385, 9.7000, 2.0, 400),
    District("Deido", 4.0640, 9.7130, 3.0, 500),
    District("New Bell", 4.0330, 9.7130, 3.0, 600),
    District("Bepanda", 4.0570, 9.7270, 2.0, 550),
    District("Akwa Nord", 4.0760, 9.7230, 1.5, 450),
    District("Ndokoti", 4.0450, 9.7420, 2.5, 600),
    District("Bonamoussadi", 4.0870, 9.7380, 3.5, 650),
    District("Makepe", 4.0790, 9.7540, 2.5, 600),
    District("Logpom", 4.0830, 9.7690, 1.5, 550),
    District("Logbessou", 4.0920, 9.7820, 1.5, 600),
    District("Cite des Palmiers", 4.0590, 9.7600, 1.5, 550),
    District("Nyalla", 4.0300, 9.7760, 1.0, 650),
)

# Latitude and longitude of the corners: the bank of the Wouri in the west, else the bounding box.
LAND = (
    (4.003, 9.7000),
    (4.015, 9.6890),
    (4.025, 9.6850),
    (4.036, 9.6835),
    (4.046, 9.6920),
    (4.056, 9.6985),
    (4.066, 9.7040),
    (4.074, 9.7105),
    (4.084, 9.7180),
    (4.098, 9.7270),
    (4.098, 9.7980),
    (4.003, 9.7980),
)
AIRPORT = ((4.002, 9.7060), (4.018, 9.7120), (4.018, 9.7330), (4.002, 9.7330))


def to_metres(lat: float, lng: float) -> Point:
    """Convert degrees to metres from the origin."""
    return (lng - ORIGIN_LNG) * METRES_PER_LNG, (lat - ORIGIN_LAT) * METRES_PER_LAT


def to_degrees(point: Point) -> tuple[float, float]:
    """Convert metres from the origin to degrees, latitude and longitude."""
    return ORIGIN_LAT + point[1] / METRES_PER_LAT, ORIGIN_LNG + point[0] / METRES_PER_LNG


def is_on_land(point: Point) -> bool:
    """Whether a point is on the city's bank of the river and off the runway. Units: metres."""
    return _is_inside(point, _LAND) and not _is_inside(point, _AIRPORT)


def _is_inside(point: Point, corners: tuple[Point, ...]) -> bool:
    x, y = point
    crossings = 0
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        crossings += (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return crossings % 2 == 1


_LAND = tuple(to_metres(*corner) for corner in LAND)
_AIRPORT = tuple(to_metres(*corner) for corner in AIRPORT)


@dataclass(frozen=True, slots=True)
class Route:
    """A route along the streets; `speed_factors[i]` belongs to the piece after `points[i]`.

    Shapes: `points` (n,), `speed_factors` (n - 1,). Units: metres; factors multiply a vehicle's
    cruising speed.
    """

    points: tuple[Point, ...]
    speed_factors: tuple[float, ...]
    length_m: float


@dataclass(slots=True)
class Streets:
    """The road graph: crossings and the streets between them."""

    crossings: dict[Node, Point] = field(default_factory=dict)
    adjacency: dict[Node, dict[Node, float]] = field(default_factory=dict)

    def nearest_crossing(self, point: Point) -> Node:
        """The crossing nearest to a point. Units: metres.

        Errors: ValueError where the point is far outside the city.
        """
        u, v = _rotate(point, -GRID_ANGLE)
        column, row = round(u / BLOCK_M), round(v / BLOCK_M)
        for reach in range(1, 80):
            near = [
                (math.dist(point, self.crossings[node]), node)
                for node in _nodes_within(column, row, reach)
                if node in self.crossings
            ]
            if near:
                return min(near)[1]
        raise ValueError(f"{point} is far outside the city")

    def route(self, start: Point, end: Point) -> Route:
        """The quickest route between two points, with the pieces off the road at both ends.

        Units: metres. Errors: ValueError where a point is far outside the city.
        """
        nodes = self._quickest_path(self.nearest_crossing(start), self.nearest_crossing(end))
        factors = [STREET_FACTOR]
        factors += [self.adjacency[a][b] for a, b in itertools.pairwise(nodes)]
        points = [start, *(self.crossings[node] for node in nodes), end]
        factors.append(STREET_FACTOR)
        length = sum(math.dist(a, b) for a, b in itertools.pairwise(points))
        return Route(tuple(points), tuple(factors), length)

    def random_point(self, district: District, rng: Random) -> Point:
        """A random door in a district, some metres off a street. Units: metres."""
        centre = to_metres(district.lat, district.lng)
        while True:
            wanted = (
                centre[0] + rng.gauss(0, district.radius_m / 2),
                centre[1] + rng.gauss(0, district.radius_m / 2),
            )
            crossing = self.crossings[self.nearest_crossing(wanted)]
            door = (crossing[0] + rng.uniform(-40, 40), crossing[1] + rng.uniform(-40, 40))
            if is_on_land(door):
                return door

    def random_point_near(self, point: Point, distance_m: float, rng: Random) -> Point:
        """A random door about so far from a point, in any direction that is land. Units: metres."""
        for _ in range(32):
            angle = rng.uniform(0, 2 * math.pi)
            wanted = (
                point[0] + distance_m * math.cos(angle),
                point[1] + distance_m * math.sin(angle),
            )
            if is_on_land(wanted):
                crossing = self.crossings[self.nearest_crossing(wanted)]
                return crossing[0] + rng.uniform(-30, 30), crossing[1] + rng.uniform(-30, 30)
        return self.crossings[self.nearest_crossing(point)]

    def _quickest_path(self, start: Node, goal: Node) -> list[Node]:
        # A* with the straight line at the speed of an avenue as the lower bound.
        target = self.crossings[goal]
        cost: dict[Node, float] = {start: 0.0}
        previous: dict[Node, Node] = {}
        queue = [(0.0, start)]
        while queue:
            _, node = heapq.heappop(queue)
            if node == goal:
                break
            here = self.crossings[node]
            for neighbour, factor in self.adjacency[node].items():
                there = self.crossings[neighbour]
                reached = cost[node] + math.dist(here, there) / factor
                if reached < cost.get(neighbour, math.inf):
                    cost[neighbour] = reached
                    previous[neighbour] = node
                    left = math.dist(there, target) / AVENUE_FACTOR
                    heapq.heappush(queue, (reached + left, neighbour))
        nodes = [goal]
        while nodes[-1] != start:
            nodes.append(previous[nodes[-1]])
        return nodes[::-1]


def build_streets() -> Streets:
    """Build the city's streets: a rotated, jittered grid on land, in one connected component."""
    rng = seeded_random("streets", STREETS_SEED)
    crossings = _build_crossings(rng)
    streets: dict[Node, dict[Node, float]] = {node: {} for node in crossings}
    for node in crossings:
        for neighbour, line in (
            ((node[0] + 1, node[1]), node[1]),
            ((node[0], node[1] + 1), node[0]),
        ):
            is_avenue = line % AVENUE_EVERY == 0
            if neighbour in crossings and (is_avenue or rng.random() > MISSING_STREETS):
                factor = AVENUE_FACTOR if is_avenue else STREET_FACTOR
                streets[node][neighbour] = factor
                streets[neighbour][node] = factor
    kept = _largest_component(streets)
    return Streets(
        {node: crossings[node] for node in crossings if node in kept},
        {node: streets[node] for node in streets if node in kept},
    )


def _build_crossings(rng: Random) -> dict[Node, Point]:
    reach = 60
    crossings: dict[Node, Point] = {}
    for column in range(-reach, reach + 1):
        for row in range(-reach, reach + 1):
            x, y = _rotate((column * BLOCK_M, row * BLOCK_M), GRID_ANGLE)
            x += rng.uniform(-CROSSING_JITTER_M, CROSSING_JITTER_M)
            y += rng.uniform(-CROSSING_JITTER_M, CROSSING_JITTER_M)
            if is_on_land((x, y)):
                crossings[column, row] = (x, y)
    return crossings


def _largest_component(streets: dict[Node, dict[Node, float]]) -> set[Node]:
    left = set(streets)
    largest: set[Node] = set()
    while len(left) > len(largest):
        component: set[Node] = set()
        frontier = [min(left)]
        while frontier:
            node = frontier.pop()
            if node not in component:
                component.add(node)
                frontier.extend(streets[node])
        left -= component
        largest = max(largest, component, key=len)
    return largest


def _rotate(point: Point, angle: float) -> Point:
    x, y = point
    return (
        x * math.cos(angle) - y * math.sin(angle),
        x * math.sin(angle) + y * math.cos(angle),
    )


def _nodes_within(column: int, row: int, reach: int) -> list[Node]:
    return [
        (column + i, row + j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)
    ]
