"""A network's depth as a teacher: cached, compared with lidar, and without any lidar at all."""

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from distillnerf_ros.config import tiny
from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import CheckpointError, ConfigError
from distillnerf_ros.training.mono import MonoTeacher
from distillnerf_ros.training.nuscenes_samples import NuScenesSamples
from distillnerf_ros.training.train import add_arguments, make_samples

SIZE = (72, 128)


@dataclasses.dataclass
class RoadNetwork:
    """Knows that there is a flat road 1.5 m below level cameras, and nothing above it."""

    scale: float = 1.0
    disparity: bool = False
    name: str = "road"
    asked: int = 0

    def fitted(self, stored: tuple[int, int]) -> tuple[int, int]:
        return 2 * stored[0], 2 * stored[1]

    def __call__(self, images: torch.Tensor, intrinsics: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        count, _, height, width = images.shape
        below = torch.arange(height) + 0.5 - intrinsics[:, 1, 2, None]
        depth = 1.5 * intrinsics[:, 1, 1, None] / below
        depth = torch.where(depth > 0, depth.clamp(max=70), torch.nan) * self.scale
        depth = 100 / depth if self.disparity else depth
        return depth[:, :, None].expand(count, height, width)


@pytest.fixture(scope="module")
def nusc(flat_road):
    return nuscenes.open_dataset(flat_road.root)


@pytest.fixture(scope="module")
def tokens(nusc) -> list[str]:
    return [token for scene in nusc.scene for token in nuscenes.keyframes(nusc, scene)]


@pytest.fixture(scope="module")
def blind_road(flat_road, tmp_path_factory) -> Path:
    """The same road, filmed by a vehicle without lidar."""
    root = tmp_path_factory.mktemp("blind")
    shutil.copytree(flat_road.root, root, dirs_exist_ok=True)
    for name in ("sample_data", "calibrated_sensor", "sensor"):
        file = root / "v1.0-flat" / f"{name}.json"
        rows = json.loads(file.read_text())
        if name == "sample_data":
            rows = [row for row in rows if "LIDAR_TOP" not in row["filename"]]
        file.write_text(json.dumps(rows))
    shutil.rmtree(root / "samples" / "LIDAR_TOP")
    return root


def expected_m() -> torch.Tensor:
    """(H, 1) depth of the road in a camera with its horizon in row 36."""
    return (1.5 * 80 / (torch.arange(SIZE[0]) + 0.5 - 36))[:, None]


def test_depth_is_the_network_s_in_the_middle_of_each_pixel(nusc, tokens) -> None:
    rig = nuscenes.load_glance(nusc, tokens[0], SIZE)
    known = MonoTeacher(RoadNetwork())(nusc, tokens[0], rig)
    assert known.depth_m[:, :36].isnan().all()
    below = known.depth_m[:, 40:]
    # The network sees rows of half the height: the nearest one lies a quarter of a row off.
    assert ((below / expected_m()[40:] - 1).abs() < 0.07).all()
    assert known.virtual == ()


def test_missing_cameras_are_not_asked_about(nusc, tokens) -> None:
    rig = nuscenes.load_glance(nusc, tokens[0], SIZE).without("CAM_BACK")
    known = MonoTeacher(RoadNetwork())(nusc, tokens[0], rig)
    assert known.depth_m[3].isnan().all()
    assert known.depth_m[2].isfinite().any()


def test_depth_is_kept_and_belongs_to_the_network(nusc, tokens, tmp_path) -> None:
    network = RoadNetwork()
    teacher = MonoTeacher(network, tmp_path)
    rig = nuscenes.load_glance(nusc, tokens[0], SIZE)
    first, again = teacher(nusc, tokens[0], rig), teacher(nusc, tokens[0], rig)
    assert network.asked == 6
    torch.testing.assert_close(first.depth_m, again.depth_m, equal_nan=True)
    other = MonoTeacher(RoadNetwork(scale=0.5, name="another"), tmp_path)(nusc, tokens[0], rig)
    torch.testing.assert_close(other.depth_m, first.depth_m / 2, rtol=1e-3, atol=0, equal_nan=True)


@pytest.mark.parametrize(("scale", "warned"), [(1.0, False), (0.6, True)])
def test_the_scale_is_said_per_camera_and_left_alone(nusc, tokens, scale, warned) -> None:
    teacher = MonoTeacher(RoadNetwork(scale=scale))
    lines = list(teacher.check(nusc, tokens, SIZE))
    assert len(lines) == 6
    for line in lines:
        said = float(line.split(" depth is ")[1].split()[0])
        assert said == pytest.approx(scale, rel=0.1)
        assert ("--mono-focal" in line) is warned
    sample = NuScenesSamples(nusc, tokens, SIZE, dense=teacher)[0]
    unmeasured = sample.depth_m[:, 40:] / expected_m()[40:]
    assert unmeasured.nanmedian().item() == pytest.approx(scale, rel=0.1)


def test_disparity_is_refused(nusc, tokens) -> None:
    with pytest.raises(CheckpointError, match="it says disparity"):
        list(MonoTeacher(RoadNetwork(disparity=True)).check(nusc, tokens, SIZE))


def test_a_log_without_lidar_has_the_network_s_depth_alone(blind_road) -> None:
    nusc = nuscenes.open_dataset(blind_road)
    token = nuscenes.keyframes(nusc, nusc.scene[0])[0]
    teacher = MonoTeacher(RoadNetwork())
    assert list(teacher.check(nusc, [token], SIZE)) == []
    sample = NuScenesSamples(nusc, [token], SIZE, dense=teacher)[0]
    assert sample.lidar_points_m.shape == (0, 3)
    assert sample.lidar_origin_m.isnan().all()
    assert sample.depth_m[:, 40:].isfinite().all()
    assert len(sample.voxels.surface) > 5000
    # All sensors of this road fired at once: the first camera's stamp is the lidar's.
    torch.testing.assert_close(sample.rig.ego_from_camera[0, :3, 3], torch.tensor([0.0, 0, 1.5]))
    with pytest.raises(CheckpointError, match="disparity"):
        list(MonoTeacher(RoadNetwork(disparity=True)).check(nusc, [token], SIZE))


def parsed(root: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--out", "x", "--data", "nuscenes", "--dataroot", str(root)]
    return parser.parse_args([*words, *more])


def test_the_verb_says_what_it_needs(flat_road, blind_road) -> None:
    with pytest.raises(ConfigError, match=r"2 of 2 keyframes have no lidar.*--mono-depth"):
        make_samples(parsed(blind_road), tiny(), None)
    for words, said in (
        (("--mono-focal", "1000"), "need --mono-depth"),
        (("--mono-depth", "n.onnx", "--targets", "t"), "give one of them"),
        (("--mono-depth", "n.onnx", "--mono-focal", "0"), "more than 0 px"),
        (("--mono-depth", "n.onnx", "--mono-size", "3", "99"), "at least 14"),
    ):
        with pytest.raises(ConfigError, match=said):
            make_samples(parsed(flat_road.root, *words), tiny(), None)
    world = parsed(flat_road.root, "--data", "world", "--mono-depth", "n.onnx")
    with pytest.raises(ConfigError, match="--mono-depth is for --data nuscenes"):
        make_samples(world, tiny(), None)
    with pytest.raises(CheckpointError, match=r"n\.onnx is missing"):
        make_samples(parsed(flat_road.root, "--mono-depth", "n.onnx"), tiny(), None)


def test_the_verb_opens_a_file(flat_road, tmp_path, capsys) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    rows = 1.5 * 80 / (np.arange(36, 72) + 0.5 - 36)
    depth = np.concatenate([np.full(36, 65.0), rows.clip(max=65)])[None, None, :, None]
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=1),
            onnx.helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            onnx.helper.make_node("Add", ["nothing", "road"], ["depth"]),
        ],
        "road",
        [onnx.helper.make_tensor_value_info("image", 1, (1, 3, 72, 128))],
        [onnx.helper.make_tensor_value_info("depth", 1, (1, 1, 72, 128))],
        [
            onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
            onnx.numpy_helper.from_array(depth.repeat(128, 3).astype(np.float32), "road"),
        ],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    path = tmp_path / "road.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    samples = make_samples(parsed(flat_road.root, "--mono-depth", str(path)), tiny(), None)
    out = capsys.readouterr().out
    assert out.count("of the lidar's") == 6
    assert "rescaled" not in out
    sample = samples[0]
    assert sample.depth_m.shape == (6, 128, 224)
    assert sample.depth_m[:, -1].isfinite().all()
