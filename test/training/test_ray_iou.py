"""RayIoU against one ray after the other, voxel after voxel."""

import itertools
import math

import numpy as np
import pytest

from distillnerf_ros.training.ray_iou import (
    RayCounts,
    RayTruth,
    choose_origins,
    first_hits,
    pitch_angles_rad,
    ray_directions,
)

LOW, VOXEL, SHAPE, FREE = (-40.0, -40.0, -1.0), 0.4, (200, 200, 16), 17


def slow_first_hit(labels: np.ndarray, origin: np.ndarray, way: np.ndarray) -> tuple[int, float]:
    """Sort the crossings of every plane; between two of them the ray is in one voxel."""
    crossings = [0.0]
    for axis in range(3):
        for plane in range(SHAPE[axis] + 1):
            if way[axis]:
                t = (LOW[axis] + VOXEL * plane - origin[axis]) / way[axis]
                crossings += [t] if t > 0 else []
    crossings = sorted(crossings)
    for enter, leave in itertools.pairwise(crossings):
        middle = (enter + leave) / 2
        index = [math.floor((origin[i] + middle * way[i] - LOW[i]) / VOXEL) for i in range(3)]
        inside = all(0 <= index[i] < SHAPE[i] for i in range(3))
        if inside and leave - enter > 1e-9 and labels[tuple(index)] != FREE:
            return int(labels[tuple(index)]), enter
    return FREE, math.inf


def random_grid(rng: np.random.Generator, share: float) -> np.ndarray:
    labels = rng.integers(0, 17, SHAPE).astype(np.uint8)
    labels[rng.random(SHAPE) > share] = FREE
    return labels


def random_rays(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    origins = rng.uniform((-39, -39, -0.9), (39, 39, 5.3), (count, 3))
    ways = ray_directions()
    return origins, ways[rng.integers(0, len(ways), count)]


@pytest.mark.parametrize("share", [0.001, 0.02, 0.4])
def test_first_hits_equal_the_loop(share: float) -> None:
    rng = np.random.default_rng(round(share * 1000))
    labels = random_grid(rng, share)
    origins, ways = random_rays(rng, 60)
    ways[:3] = [[1, 0, 0], [0, -1, 0], [0, 0, 1]]
    found, distance = first_hits(labels, origins, ways)
    for ray in range(len(origins)):
        label, expected = slow_first_hit(labels, origins[ray], ways[ray])
        assert found[ray] == label
        assert distance[ray] == pytest.approx(expected, abs=1e-6)


def test_rays_from_outside_and_past_the_grid() -> None:
    rng = np.random.default_rng(7)
    labels = random_grid(rng, 0.05)
    origins = rng.uniform((-60, -60, 6), (60, 60, 9), (60, 3))
    ways = rng.normal(size=(60, 3))
    ways[:, 2] = -np.abs(ways[:, 2])
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    found, distance = first_hits(labels, origins, ways)
    expected = [slow_first_hit(labels, *ray) for ray in zip(origins, ways, strict=True)]
    assert found.tolist() == [label for label, _ in expected]
    np.testing.assert_allclose(distance, [t for _, t in expected], atol=1e-6)
    assert 0 < (found != FREE).sum() < 60


def test_a_wall_in_closed_form() -> None:
    labels = np.full(SHAPE, FREE, np.uint8)
    labels[130] = 15  # x = 12.0 .. 12.4 m
    way = np.array([[1.0, 0, 0], [math.cos(0.5), math.sin(0.5), 0], [-1, 0, 0], [0.6, 0.8, 0]])
    found, distance = first_hits(labels, np.tile([2.1, 0.1, 1.84], (4, 1)), way)
    assert found.tolist() == [15, 15, FREE, 15]
    np.testing.assert_allclose(distance, [9.9, 9.9 / math.cos(0.5), math.inf, 9.9 / 0.6])
    inside, zero = first_hits(labels, np.array([[12.1, 0.0, 1.0]]), way[:1])
    assert (inside[0], zero[0]) == (15, 0)


def test_through_an_edge_at_once() -> None:
    labels = np.full(SHAPE, FREE, np.uint8)
    labels[101, 100] = labels[100, 101] = 1  # touched by the ray in a line alone
    labels[102, 102] = 2
    way = np.array([[math.sqrt(0.5), math.sqrt(0.5), 0]])
    found, distance = first_hits(labels, np.array([[0.0, 0.0, 1.0]]), way)
    assert found[0] == 2
    assert distance[0] == pytest.approx(0.8 * math.sqrt(2))


def test_pitches_and_directions() -> None:
    pitches = pitch_angles_rad()
    assert math.tan(-pitches[0]) == pytest.approx(1)
    np.testing.assert_allclose(1 / np.tan(-pitches[:10]), range(1, 11))
    np.testing.assert_allclose(np.diff(pitches[9:]), pitches[9] - pitches[8])
    assert pitches[-2] < 0.21 <= pitches[-1]
    ways = ray_directions()
    assert ways.shape == (360 * len(pitches), 3)
    np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 1)
    np.testing.assert_allclose(
        ways[90], [0, math.cos(pitches[0]), math.sin(pitches[0])], atol=1e-9
    )


def test_origins_along_the_trajectory() -> None:
    line = np.array([[x, 0.0, 1.84] for x in range(-60, 61)])
    chosen = choose_origins(line)
    assert chosen[:, 0].tolist() == [-38, -27, -16, -5, 5, 16, 27, 38]
    assert len(choose_origins(line[60:63])) == 3
    assert len(choose_origins(line[:10])) == 0


def slow_ray_iou(
    truth: list[np.ndarray], predicted: list[np.ndarray], rays: list[tuple[np.ndarray, np.ndarray]]
) -> list[float]:
    """Ray by ray, class by class."""
    pairs = []
    for t, p, (origins, ways) in zip(truth, predicted, rays, strict=True):
        for origin, way in zip(origins, ways, strict=True):
            pairs.append((slow_first_hit(t, origin, way), slow_first_hit(p, origin, way)))
    pairs = [pair for pair in pairs if pair[0][0] != FREE]
    means = []
    for limit in (1, 2, 4):
        values = []
        for c in range(17):
            both = sum(t[0] == p[0] == c and abs(t[1] - p[1]) < limit for t, p in pairs)
            either = sum(t[0] == c for t, _ in pairs) + sum(p[0] == c for _, p in pairs) - both
            values += [both / either] if either else []
        means.append(sum(values) / len(values))
    return means


def test_ray_iou_equals_the_loop() -> None:
    rng = np.random.default_rng(11)
    counts = RayCounts()
    truth, predicted, rays = [], [], []
    for _ in range(2):
        t = random_grid(rng, 0.01)
        t[t < 12] = FREE  # a few classes, so that some rays are right
        p = t.copy()
        p[rng.random(SHAPE) < 0.1] = FREE
        p[rng.random(SHAPE) < 0.001] = 3
        p = np.roll(p, 1, axis=0)
        origins, ways = random_rays(rng, 50)
        label, distance = first_hits(t, origins, ways)
        hit = label != FREE
        counts.add(RayTruth(origins[hit], ways[hit], label[hit], distance[hit]), p)
        truth.append(t), predicted.append(p), rays.append((origins, ways))
    expected = slow_ray_iou(truth, predicted, rays)
    assert 0 < expected[0] < expected[2] < 1
    np.testing.assert_allclose(counts.by_distance(), expected)


def test_perfect_empty_and_shifted_predictions() -> None:
    labels = np.full(SHAPE, FREE, np.uint8)
    labels[:, :, 2] = 11
    truth = RayTruth.of(labels, np.array([[0.0, 0.0, 1.84]]))
    assert (truth.labels == 11).all()
    steep = np.sin(pitch_angles_rad())[0]
    assert truth.distance_m.min() == pytest.approx((0.2 - 1.84) / steep)
    for predicted, expected in ((labels, [1, 1, 1]), (np.full_like(labels, FREE), [0, 0, 0])):
        counts = RayCounts()
        counts.add(truth, predicted)
        assert counts.by_distance().tolist() == expected
    lower = RayCounts()
    lower.add(truth, np.roll(labels, -1, axis=2))  # the road 0.4 m too low
    near = (0.4 / -truth.directions[:, 2])[:, None] < [1, 2, 4]
    right = near.sum(axis=0)
    seen = lower.counts[1, 11]
    np.testing.assert_allclose(lower.by_distance(), right / (len(near) + seen - right), rtol=0.05)
    assert np.isnan(RayCounts().by_distance()).all()
