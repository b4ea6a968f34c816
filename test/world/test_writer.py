"""A tiny world data set: what nuscenes-devkit reads is what the caster saw."""

import argparse
import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.lidar import lidar_depth, off_vehicle
from distillnerf_ros.data.occ3d import read_labels
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.world import capture as capturing
from distillnerf_ros.world import rig_constants, writer
from distillnerf_ros.world.capture import Interval, Settings, scene_of
from distillnerf_ros.world.frames import glance
from distillnerf_ros.world.occupancy import occupancy_truth
from distillnerf_ros.world.writer import write_dataset

pytest.importorskip("cv2")
pytest.importorskip("nuscenes")

SEED, SIZE = 3, (36, 64)
SETTINGS = Settings(seconds=0.6, image_size=SIZE, sweeps=False)  # two keyframes


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_dataset(
        tmp_path_factory.mktemp("world") / "w", range(SEED, SEED + 1), SETTINGS, 1
    )


@pytest.fixture(scope="module")
def nusc(root):
    return nuscenes.open_dataset(root)


@pytest.fixture(scope="module")
def seen():
    return glance(scene_of(SEED, SETTINGS.seconds), SETTINGS.keyframe_times_s()[0], SIZE)


def first_sample(nusc) -> str:
    return nuscenes.keyframes(nusc, nuscenes.find_scene(nusc))[0]


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_devkit_loads_it_without_a_warning_and_with_lidarseg(root):
    from nuscenes.nuscenes import NuScenes

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nusc = NuScenes(writer.VERSION, str(root), verbose=False)
    assert len(nusc.sample) == len(nusc.lidarseg) == 2
    assert len(nusc.sample_data) == 2 * 7


def test_stamps_are_staggered_as_on_the_vehicle(nusc):
    sample = nusc.get("sample", first_sample(nusc))
    for name in CAMERA_NAMES:
        record = nusc.get("sample_data", sample["data"][name])
        offset_us = record["timestamp"] - sample["timestamp"]
        assert offset_us == round(rig_constants.CAMERAS[name].stamp_offset_s * 1e6)
    lidar = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
    assert lidar["timestamp"] == sample["timestamp"]


def test_glance_reads_back_as_it_was_cast(nusc, seen):
    rig = nuscenes.load_glance(nusc, first_sample(nusc), SIZE)
    torch.testing.assert_close(rig.intrinsics, seen.rig.intrinsics, atol=1e-3, rtol=0)
    torch.testing.assert_close(rig.ego_from_camera, seen.rig.ego_from_camera, atol=1e-4, rtol=0)
    assert (rig.images - seen.rig.images).abs().mean() < 0.03  # JPEG of a noisy picture


def test_lidar_reads_back_as_it_was_cast(nusc, seen):
    points = nuscenes.lidar_points(nusc, first_sample(nusc))
    expected = seen.lidar.points[off_vehicle(seen.lidar.points)]
    torch.testing.assert_close(points, expected, atol=1e-3, rtol=0)


def test_lidar_agrees_with_the_depth_of_the_images(nusc, seen):
    rig = nuscenes.load_glance(nusc, first_sample(nusc), SIZE)
    sparse = lidar_depth(nuscenes.lidar_points(nusc, first_sample(nusc)), rig)
    both = ~sparse.isnan() & ~seen.depth_m.isnan()
    error = (sparse[both] / seen.depth_m[both] - 1).abs()
    assert both.sum() > 500
    assert error.median() < 0.03


def test_lidarseg_names_what_the_beams_met(root, nusc, seen):
    record = nuscenes.reference_record(nusc, first_sample(nusc))
    row = nusc.get("lidarseg", record["token"])
    labels = np.fromfile(root / row["filename"], np.uint8)
    names = nusc.lidarseg_idx2name_mapping
    occ3d = [nuscenes.OCC3D_FROM_CATEGORY[names[label]] for label in labels]
    np.testing.assert_array_equal(occ3d, seen.lidar.labels)
    assert len(labels) == len(nuscenes.read_lidar(nusc, record))


def test_occupancy_labels_belong_to_the_sample(nusc):
    stored = read_labels(nuscenes.occ3d_path(nusc, first_sample(nusc)))
    truth = occupancy_truth(scene_of(SEED, SETTINGS.seconds), SETTINGS.keyframe_times_s()[0])
    np.testing.assert_array_equal(stored.semantics, truth.semantics)
    np.testing.assert_array_equal(stored.mask_camera, truth.mask_camera)
    np.testing.assert_array_equal(stored.mask_lidar, truth.mask_lidar)


def test_boxes_hold_their_lidar_points_and_move_as_the_scene_says(nusc):
    scene, time_s = scene_of(SEED, SETTINGS.seconds), SETTINGS.keyframe_times_s()[0]
    objects = {
        nusc_token: box
        for box in scene.objects_at(time_s)
        for nusc_token in [capturing.token("instance", capturing.scene_name(SEED), box.id)]
    }
    points = nuscenes.lidar_points(nusc, first_sample(nusc)).numpy()
    ego = scene.ego_pose(time_s)
    boxes = list(nuscenes.boxes(nusc, first_sample(nusc)))
    assert len(boxes) > 5
    for box in boxes:
        truth = objects[box.instance]
        assert box.label == truth.class_id
        speed = np.hypot(*box.velocity_mps)
        if np.isfinite(speed):
            assert speed == pytest.approx(np.hypot(*truth.velocity_mps), abs=0.7)
        expected = (np.array(truth.center_m) - ego[:3, 3]) @ ego[:3, :3]
        np.testing.assert_allclose(box.center_m, expected, atol=1e-3)
    strong = max(boxes, key=lambda box: box.lidar_points)
    turned = points[:, :2] - np.array(strong.center_m[:2])
    cos, sin = np.cos(strong.yaw_rad), np.sin(strong.yaw_rad)
    local = turned @ np.array([[cos, -sin], [sin, cos]])
    inside = (np.abs(local) < np.array(strong.size_m[:2]) / 2 + 0.1).all(1)
    assert inside.sum() >= 0.9 * strong.lidar_points


def test_vehicle_drives_on_the_map_mask(nusc):
    pose = nusc.get("ego_pose", nusc.sample_data[0]["ego_pose_token"])["translation"]
    mask = nusc.map[0]["mask"]
    assert mask.is_on_mask(pose[0], pose[1]).all()
    assert 0.1 < (mask.mask() == 255).mean() < 0.9


def test_splits_are_its_own(nusc):
    assert [scene["name"] for scene in nuscenes.scenes_of_split(nusc, "train")] == ["scene-0003"]
    assert nuscenes.scenes_of_split(nusc, "val") == []


def test_interrupted_work_is_taken_up_and_gives_the_same_bytes(root, tmp_path):
    copy = tmp_path / "copy"
    (copy / ".world/scene-0003").mkdir(parents=True)
    (copy / ".world/settings.json").write_bytes((root / ".world/settings.json").read_bytes())
    capturing.capture(Interval(copy, SEED, 1, SETTINGS))
    assert not list(copy.glob("v1.0-*"))  # an unfinished scene is in no table
    done = (copy / ".world/scene-0003/0001.json").stat().st_mtime_ns
    write_dataset(copy, range(SEED, SEED + 1), SETTINGS, 1)
    assert (copy / ".world/scene-0003/0001.json").stat().st_mtime_ns == done
    assert digests(copy) == digests(root)


def test_a_kill_while_the_folder_is_claimed_blocks_nothing(tmp_path):
    (tmp_path / ".world").mkdir()
    (tmp_path / ".world" / "settings.part").write_text('{"seco')
    writer._claim(tmp_path, SETTINGS)
    writer._claim(tmp_path, SETTINGS)
    (tmp_path / "other").mkdir()
    (tmp_path / ".world" / "settings.json").unlink()
    with pytest.raises(DatasetError, match="is not empty and holds no world"):
        writer._claim(tmp_path, SETTINGS)


def test_failure_on_the_way_leaves_what_is_finished(root, tmp_path, monkeypatch):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    shutil.rmtree(copy / "v1.0-world")

    def fail(interval):
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "capture", fail)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(copy, range(SEED, SEED + 2), SETTINGS, 1)
    assert [scene["name"] for scene in nuscenes.open_dataset(copy).scene] == ["scene-0003"]


def test_other_settings_and_other_folders_are_refused(root, tmp_path):
    with pytest.raises(DatasetError, match="other settings"):
        write_dataset(root, range(1), Settings(0.6, (18, 32), sweeps=False), 1)
    (tmp_path / "letters.txt").write_text("dear diary")
    with pytest.raises(DatasetError, match="not empty"):
        write_dataset(tmp_path, range(1), SETTINGS, 1)


def test_sweeps_fill_the_time_between_keyframes(tmp_path, monkeypatch, seen):
    monkeypatch.setattr(
        capturing,
        "glance",
        lambda scene, time_s, size: _at(seen, time_s),
    )
    monkeypatch.setattr(capturing, "lidar_sweep", lambda scene, time_s: seen.lidar)
    settings = Settings(0.6, SIZE, sweeps=True)
    readings = capturing._sweeps(Interval(tmp_path, SEED, 0, settings))
    start_us = capturing.stamp_us(SEED, settings.keyframe_times_s()[0])
    lidar = [r.timestamp_us - start_us for r in readings if r.channel == "LIDAR_TOP"]
    assert lidar == [50_000 * step for step in range(1, 10)]
    front = [r.timestamp_us - start_us for r in readings if r.channel == "CAM_FRONT"]
    assert front == [round(step * 1e6 / 12) - 36_236 for step in range(1, 6)]
    assert not any(reading.is_key_frame for reading in readings)
    assert len(list((tmp_path / "sweeps").rglob("*.*"))) == 9 + 5 * 6


def _at(seen, time_s):
    import dataclasses

    offsets = [rig_constants.CAMERAS[name].stamp_offset_s for name in CAMERA_NAMES]
    return dataclasses.replace(
        seen, stamps_s=torch.tensor([time_s + offset for offset in offsets], dtype=torch.float64)
    )


def test_last_keyframe_has_no_sweeps(tmp_path, monkeypatch):
    monkeypatch.setattr(capturing, "_keyframe", lambda interval: ([], []))
    monkeypatch.setattr(capturing, "_sweeps", lambda interval: pytest.fail("sweeps"))
    capturing.capture(Interval(tmp_path, SEED, 1, Settings(0.6, SIZE, sweeps=True)))
    assert json.loads((tmp_path / ".world/scene-0003/0001.json").read_text())["readings"] == []


@pytest.mark.parametrize(("seconds", "count"), [(0.5, 1), (0.6, 2), (4.0, 8), (20.0, 40)])
def test_keyframes_come_at_2_hz(seconds, count):
    times = Settings(seconds).keyframe_times_s()
    assert len(times) == count
    assert times[-1] <= seconds


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    writer.add_arguments(parser)
    return parser.parse_args(["--out", "nowhere", *words])


@pytest.mark.parametrize(
    "words",
    [("--scenes", "0"), ("--workers", "0"), ("--seed", "-1"), ("--seconds", "0.1")],
)
def test_numbers_out_of_range_are_refused(words):
    with pytest.raises(ConfigError, match=words[0]):
        writer.run(arguments(*words))
