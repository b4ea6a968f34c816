"""What all tests share: a ROS domain of their own, the same examples each time, small inputs."""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES, CameraRig
from distillnerf_ros.config import BackboneConfig, FeatureConfig, ModelConfig, VoxelConfig, tiny
from distillnerf_ros.voxels.field import FieldSample

# ./run test sets these; pytest called by itself gets the same isolation.
os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ.setdefault(
    "ROS_LOG_DIR", os.path.join(tempfile.gettempdir(), "distillnerf_ros_test_log")
)

try:  # before any gradient: PyTorch counts devices then
    from pretend_gpu import DEVICE, PretendGpu, done
except ImportError:  # an older PyTorch than the lock's
    DEVICE = None

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def make_rig() -> Callable[..., CameraRig]:
    """Level cameras looking outwards, evenly around the vehicle, with noise for images."""

    def make(size: tuple[int, int] = (32, 64), count: int = 6, seed: int = 0) -> CameraRig:
        yaw = -torch.arange(count) * (2 * torch.pi / count)
        zero, one = torch.zeros(count), torch.ones(count)
        right = torch.stack([yaw.sin(), -yaw.cos(), zero], dim=-1)
        ahead = torch.stack([yaw.cos(), yaw.sin(), zero], dim=-1)
        pose = torch.eye(4).repeat(count, 1, 1)
        pose[:, :3, :3] = torch.stack([right, torch.stack([zero, zero, -one], -1), ahead], dim=-1)
        pose[:, :3, 3] = 0.5 * ahead + torch.tensor([0.0, 0.0, 1.6])
        height, width = size
        k = torch.tensor([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])
        images = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))
        valid = torch.ones(count, dtype=torch.bool)
        return CameraRig(CAMERA_NAMES[:count], images, k.repeat(count, 1, 1), pose, valid)

    return make


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    """``tiny`` made small enough to encode a glance of 32x64 pixels in a blink."""
    config = tiny()
    return dataclasses.replace(
        config,
        preset="small",
        backbone=BackboneConfig(32, 64, (8, 12, 16), (1, 1, 1), 2, 8),
        coarse_depth=dataclasses.replace(config.coarse_depth, inner_bins=16, outer_bins=4),
        fine_depth=dataclasses.replace(config.fine_depth, candidates=3, hidden_channels=8),
        voxels=VoxelConfig(4, 6, 8, 8, 1, 1, completion=True),
        render=dataclasses.replace(
            config.render,
            coarse_samples=32,
            fine_samples=12,
            ray_rows=16,
            ray_cols=32,
            decoder_channels=8,
            decoder_layers=1,
        ),
        features=FeatureConfig(5),
    )


@dataclasses.dataclass(frozen=True)
class Balls:
    """A field of dense balls of one colour and one feature each, under a sky of blue.

    Attributes:
        centers_m: (B, 3).
        radii_m: (B,).
        rgb: (B, 3).
        features: (B, C).
    """

    centers_m: torch.Tensor
    radii_m: torch.Tensor
    rgb: torch.Tensor
    features: torch.Tensor
    sigma: float = 1000.0

    def __call__(self, points_m, directions=None, time=None) -> FieldSample:
        nearest = self._gaps(points_m).argmin(dim=-1)
        return FieldSample(self.density(points_m), self.rgb[nearest], self.features[nearest])

    def density(self, points_m):
        return self.sigma * (self._gaps(points_m) <= 0).any(dim=-1).to(points_m)

    def _gaps(self, points_m):
        """Squared distance beyond each ball's surface; norms take four times as long."""
        apart = points_m[..., None, :] - self.centers_m
        return apart.square().sum(dim=-1) - self.radii_m.square()

    def proposal_density(self, points_m):
        return self.density(points_m)

    def sky(self, directions):
        return directions.new_tensor([0.0, 0.0, 1.0]).expand_as(directions)


@pytest.fixture(scope="session")
def two_balls() -> Balls:
    """A red ball 10 m ahead and a green one 10 m to the left, both at the cameras' height."""
    return Balls(
        torch.tensor([[10.5, 0.0, 1.6], [0.0, 10.5, 1.6]]),
        torch.tensor([2.0, 2.0]),
        torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    )


@pytest.fixture(autouse=True)
def _same_numbers_each_time() -> None:
    torch.manual_seed(0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """A device that is not the CPU, and the one that every verb finds."""
    if DEVICE is None:
        pytest.skip("this PyTorch cannot pretend a device")
    for name, module in list(sys.modules.items()):
        if name.startswith("distillnerf_ros.") and hasattr(module, "resolve_device"):
            monkeypatch.setattr(module, "resolve_device", lambda name: DEVICE)
    done.clear()
    with PretendGpu():
        yield DEVICE
    assert done.total() > 0, "nothing was done on the device that the test asked for"


@pytest.fixture(params=["cpu", "gpu"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Who asks for it is tested twice: on the CPU, and on a device that is not."""
    on_gpu = request.param == "gpu"
    return request.getfixturevalue("gpu") if on_gpu else torch.device("cpu")
