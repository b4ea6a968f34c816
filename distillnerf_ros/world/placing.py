"""What stands: buildings, street furniture, trees, parked vehicles, work sites."""

import numpy as np

from distillnerf_ros.world.layout import BEGIN_S, END_S, Layout
from distillnerf_ros.world.objects import (
    buildings,
    buses,
    cars,
    machines,
    nature,
    people,
    street,
    trucks,
)
from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.roads import PARKING_M, Road
from distillnerf_ros.world.things import Thing


class Site:
    """Collects standing things and refuses overlaps."""

    def __init__(self, rng: np.random.Generator, layout: Layout) -> None:
        """Start with an empty site."""
        self.rng = rng
        self.layout = layout
        self.things: list[Thing] = []
        self._taken = np.zeros((0, 3))
        self._decks: dict[str, list[int]] = {}

    def draw(self, name: str, counts: tuple[int, ...]) -> int:
        """Next card of a shuffled deck, so that even a short street has some of everything."""
        deck = self._decks.setdefault(name, [])
        if not deck:
            cards = np.repeat(np.arange(len(counts)), counts)
            deck.extend(self.rng.permutation(cards).tolist())
        return deck.pop()

    def reached(self, index: int, s: float) -> bool:
        """Whether the ego vehicle comes near a place on a road."""
        return self.layout.near_drive(self.layout.roads[index].point(s, 0.0))

    def stretch(self, index: int, begin: float, end: float, step: float) -> list[float]:
        """Places along a road that the ego vehicle comes near."""
        return [float(s) for s in np.arange(begin, end, step) if self.reached(index, float(s))]

    def put(
        self,
        model: Model,
        index: int,
        s: float,
        left_m: float,
        turn: float = 0.0,
        *,
        margin_m: float = 0.2,
        on_road: bool = False,
        overlap: bool = False,
    ) -> bool:
        """Place a model beside road ``index``; ``turn`` is relative to the road's direction.

        Returns False (and places nothing) where it would stand in another road or in something.
        """
        road = self.layout.roads[index]
        xy = road.point(s, left_m)
        yaw = road.direction(s) + turn
        spots = _footprint(xy, yaw, model.size_m)
        if not self.layout.clear_of_roads(spots[:, :2], margin_m, own=index):
            return False
        if not overlap and not self._free(spots):
            return False
        self._taken = np.concatenate([self._taken, spots])
        self.things.append(Thing(model, (float(xy[0]), float(xy[1]), yaw), on_road=on_road))
        return True

    def _free(self, spots: np.ndarray) -> bool:
        gap = np.linalg.norm(self._taken[:, None, :2] - spots[None, :, :2], axis=2)
        return bool((gap > self._taken[:, None, 2] + spots[None, :, 2]).all())


def _footprint(xy: np.ndarray, yaw: float, size_m: tuple[float, float, float]) -> np.ndarray:
    """Discs (D, 3) of x, y, radius that cover a box seen from above."""
    length, width = size_m[0], size_m[1]
    radius = min(length, width) / 2
    count = max(int(np.ceil(max(length, width) / (2 * radius))), 1)
    along = (np.arange(count) - (count - 1) / 2) * 2 * radius
    turn = yaw if length >= width else yaw + np.pi / 2
    x, y = xy[0] + along * np.cos(turn), xy[1] + along * np.sin(turn)
    return np.stack([x, y, np.full(count, radius)], axis=1)


def make_standing(rng: np.random.Generator, layout: Layout) -> list[Thing]:
    """All standing things, the rare and important first."""
    site = Site(rng, layout)
    town = float(rng.uniform(0.15, 1.0))
    for index, road in enumerate(layout.roads):
        begin, end = (BEGIN_S, END_S) if index == 0 else (-150.0, 150.0)
        for side in (1, -1):
            _features(site, index, road, begin, end, side)
            _parked(site, index, road, begin, end, side)
            _buildings(site, index, road, begin, end, side, town)
            _furniture(site, index, road, begin, end, side)
            _greenery(site, index, road, begin, end, side, town)
    _junctions(site)
    return site.things


def _features(site: Site, index: int, road: Road, begin: float, end: float, side: int) -> None:
    """Every 12 m or so one remarkable thing at the kerb or on the pavement."""
    s = begin
    while s < end:
        if site.reached(index, s):
            build = _FEATURES[site.draw("feature", _FEATURE_COUNTS)]
            build(site, index, road, s, side)
        s += float(site.rng.uniform(8, 16))


def _kerb_lane(road: Road, side: int) -> float:
    """Lateral place of a vehicle standing at the kerb."""
    return side * (road.half_width_m - PARKING_M / 2)


def _along(side: int) -> float:
    """Heading of traffic on that side, relative to the road."""
    return np.pi if side > 0 else 0.0


def _verge(road: Road, side: int, out_m: float) -> float:
    """Lateral place outside the kerb."""
    return side * (road.half_width_m + out_m)


def _work_site(site: Site, index: int, road: Road, s: float, side: int) -> None:
    """A machine behind barriers and cones, with workers, at the kerb or beside the road."""
    rng = site.rng
    off = not road.parking or rng.random() < 0.4
    left = _verge(road, side, road.sidewalk_m + 2.6) if off else side * (road.half_width_m - 1.3)
    site.put(
        machines.construction_vehicle(rng),
        index,
        s,
        left,
        float(rng.normal(0, 0.25)) + _along(side),
    )
    fence = str(rng.choice(["concrete barrier", "plastic barrier", "striped barrier"]))
    inner = left - side * 2.2
    if off:
        for step in np.arange(-4.2, 4.3, 2.1):
            site.put(street.barrier(rng, fence), index, s + step, inner)
    else:
        for step in np.arange(-6, 6.1, 2.0):
            site.put(street.cone(rng), index, s + step, side * (road.half_width_m - 2.75))
        for end in (-6.6, 6.6):
            site.put(street.barrier(rng, fence), index, s + end, left)
    for _ in range(int(rng.integers(1, 4))):
        place = left + float(rng.uniform(-1.6, 1.6))
        site.put(
            people.worker(rng),
            index,
            s + float(rng.uniform(-6, 6)),
            place,
            float(rng.uniform(0, 6)),
        )


def _machine(site: Site, index: int, road: Road, s: float, side: int) -> None:
    left = _verge(site.layout.roads[index], side, road.sidewalk_m + 3.0)
    site.put(
        machines.construction_vehicle(site.rng), index, s, left, float(site.rng.uniform(0, 6))
    )


def _motorcycles(site: Site, index: int, road: Road, s: float, side: int) -> None:
    rng = site.rng
    for number in range(int(rng.integers(2, 6))):
        model = people.motorcycle(rng, ridden=False)
        turn = side * np.pi / 2 + float(rng.normal(0.3, 0.1))
        site.put(model, index, s + 1.15 * number, _verge(road, side, 1.3), turn)


def _bicycles(site: Site, index: int, road: Road, s: float, side: int) -> None:
    rng = site.rng
    for number in range(int(rng.integers(2, 7))):
        turn = side * np.pi / 2 + float(rng.normal(0, 0.15))
        place = _verge(road, side, 1.15)
        site.put(people.bicycle(rng, ridden=False), index, s + 0.85 * number, place, turn)


def _others(site: Site, index: int, road: Road, s: float, side: int) -> None:
    rng = site.rng
    if road.parking and rng.random() < 0.3:
        site.put(
            cars.police_car(rng), index, s, _kerb_lane(road, side), _along(side), on_road=True
        )
        return
    for _ in range(int(rng.integers(2, 5))):
        place = _verge(road, side, float(rng.uniform(0.9, max(road.sidewalk_m - 0.3, 1.2))))
        turn = side * -np.pi / 2 + np.pi + float(rng.normal(0, 0.2))
        site.put(street.other(rng), index, s + float(rng.uniform(-4, 4)), place, turn)


def _barriers(site: Site, index: int, road: Road, s: float, side: int) -> None:
    rng = site.rng
    kind = str(rng.choice(["concrete barrier", "plastic barrier", "striped barrier"]))
    place = _verge(road, side, 0.5) if rng.random() < 0.7 else side * (road.half_width_m - 0.5)
    for number in range(int(rng.integers(3, 9))):
        site.put(street.barrier(rng, kind), index, s + 2.1 * number, place, np.pi / 2 * 0)


def _cones(site: Site, index: int, road: Road, s: float, side: int) -> None:
    for number in range(int(site.rng.integers(4, 9))):
        place = side * (road.half_width_m - 0.5 - 0.25 * number * road.parking)
        site.put(street.cone(site.rng), index, s + 1.7 * number, place)


def _big_parked(site: Site, index: int, road: Road, s: float, side: int) -> None:
    """A lorry, trailer or bus standing at the kerb, or on a lot beside the road."""
    rng = site.rng
    builder = (trucks.truck, trucks.trailer, buses.bus)[site.draw("big", (2, 3, 2))]
    model = builder(rng)
    if road.parking:
        site.put(model, index, s, side * (road.half_width_m - 1.35), _along(side), on_road=True)
    else:
        site.put(model, index, s, _verge(road, side, road.sidewalk_m + 2.2), _along(side))


_FEATURES = (
    _work_site,
    _motorcycles,
    _bicycles,
    _others,
    _barriers,
    _big_parked,
    _cones,
    _machine,
)
_FEATURE_COUNTS = (3, 3, 2, 4, 3, 4, 2, 2)
"""How often each feature occurs among 23 in a row."""


def _parked(site: Site, index: int, road: Road, begin: float, end: float, side: int) -> None:
    if not road.parking:
        return
    rng, full = site.rng, float(site.rng.uniform(0.35, 0.85))
    for s in np.arange(begin, end, 6.0):
        if rng.random() < full and site.reached(index, float(s)):
            model = cars.car(rng)
            turn = _along(side) + float(rng.normal(0, 0.02))
            site.put(
                model,
                index,
                float(s) + 3.0,
                _kerb_lane(road, side),
                turn,
                on_road=True,
                margin_m=5.0,
            )


def _buildings(
    site: Site, index: int, road: Road, begin: float, end: float, side: int, town: float
) -> None:
    rng, s = site.rng, begin
    setback = float(rng.choice([0.3, 3.0, 7.0])) + (1.0 - town) * 4.0
    while s < end:
        width, depth = float(rng.uniform(8, 22)), float(rng.uniform(8, 14))
        if rng.random() < 0.35 + 0.6 * town and site.reached(index, s):
            out = road.sidewalk_m + setback + depth / 2 + float(rng.uniform(0, 1.0))
            model = buildings.building(rng, depth, width)
            turn = 0.0 if side > 0 else np.pi
            site.put(
                model,
                index,
                s + width / 2,
                _verge(road, side, out),
                turn + np.pi / 2 - np.pi / 2,
                margin_m=3.0,
            )
        s += width + (0.4 if rng.random() < 0.6 * town else float(rng.uniform(2, 14)))


def _furniture(site: Site, index: int, road: Road, begin: float, end: float, side: int) -> None:
    """Lights, signs, poles, benches near the kerb."""
    rng = site.rng
    facing = np.pi / 2 if side > 0 else -np.pi / 2
    for s in site.stretch(index, begin + 6, end, 27.0):
        site.put(
            street.street_light(rng),
            index,
            float(s),
            _verge(road, side, 0.7),
            facing,
            overlap=True,
        )
    builders = (street.sign, street.pole, street.furniture, street.shelter)
    for s in site.stretch(index, begin, end, 11.0):
        builder = builders[int(rng.choice(4, p=[0.36, 0.26, 0.26, 0.12]))]
        turn = (np.pi if side > 0 else 0.0) if builder is street.sign else facing
        out = 0.7 if builder in (street.sign, street.pole) else max(road.sidewalk_m - 0.9, 1.2)
        site.put(builder(rng), index, float(s + rng.uniform(0, 6)), _verge(road, side, out), turn)


def _greenery(
    site: Site, index: int, road: Road, begin: float, end: float, side: int, town: float
) -> None:
    """Street trees, hedges and fences, bushes and trees on open ground."""
    rng = site.rng
    if road.sidewalk_m > 2.8 and rng.random() < 0.7:
        for s in site.stretch(index, begin, end, float(rng.uniform(8, 16))):
            site.put(
                _narrow(nature.tree(rng)), index, float(s), _verge(road, side, 1.1), overlap=False
            )
    for s in site.stretch(index, begin, end, 9.0):
        luck = rng.random()
        at, edge = float(s + rng.uniform(0, 4)), _verge(road, side, road.sidewalk_m + 0.8)
        if luck < 0.16:
            site.put(nature.hedge(rng, float(rng.uniform(3, 8))), index, at, edge)
        elif luck < 0.28:
            site.put(street.fence(rng, float(rng.uniform(4, 9))), index, at, edge)
        for _ in range(int(rng.integers(0, 3))):
            out = road.sidewalk_m + float(rng.uniform(1.5, 24))
            plant = nature.tree(rng) if rng.random() < 0.6 else nature.bush(rng)
            site.put(
                _narrow(plant), index, at + float(rng.uniform(-4, 4)), _verge(road, side, out)
            )
    if road.median_m > 1.6:
        for s in site.stretch(index, begin, end, 14.0):
            if side > 0 and rng.random() < 0.5:
                site.put(nature.bush(rng), index, float(s), 0.0, margin_m=8.0)


def _narrow(model: Model) -> Model:
    """Only a tree's trunk claims ground."""
    wide = min(model.size_m[0], 1.2)
    return Model(
        model.kind, model.category, (wide, wide, model.size_m[2]), model.color, model.shape
    )


def _junctions(site: Site) -> None:
    """Traffic lights at the corners of the first crossing roads."""
    rng, main = site.rng, site.layout.roads[0]
    for number, corner in enumerate(site.layout.corners_s, start=1):
        if rng.random() < 0.25:
            continue
        away = site.layout.roads[number].half_width_m + 5.5
        for sign, side in ((1, -1), (-1, 1)):
            turn = 0.0 if side < 0 else np.pi
            site.put(
                street.traffic_light(rng),
                0,
                corner + sign * away,
                _verge(main, side, 0.9),
                turn,
                overlap=True,
            )
