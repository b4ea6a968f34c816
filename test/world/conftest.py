"""One scene and one glance for all tests of the world."""

import pytest

from distillnerf_ros.world.frames import Glance, glance
from distillnerf_ros.world.scene import Scene, make_scene


@pytest.fixture(scope="session")
def street() -> Scene:
    return make_scene(1, 6.0)


@pytest.fixture(scope="session")
def street_again() -> Scene:
    return make_scene(1, 6.0)


@pytest.fixture(scope="session")
def looked(street: Scene) -> Glance:
    return glance(street, 2.0, (64, 112))
