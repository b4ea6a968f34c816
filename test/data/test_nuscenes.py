"""Reading a data set with known numbers."""

import json
import shutil
import warnings

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import DatasetError, ImageError

pytest.importorskip("nuscenes")


def first_sample(nusc) -> str:
    return nuscenes.keyframes(nusc, nuscenes.find_scene(nusc))[0]


def test_the_only_version_is_found_without_a_warning(tiny_set):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nusc = nuscenes.open_dataset(tiny_set.root)
    assert nusc.version == tiny_set.version


def test_keyframes_come_in_time_order(tiny_nusc):
    tokens = nuscenes.keyframes(tiny_nusc, nuscenes.find_scene(tiny_nusc))
    stamps = [tiny_nusc.get("sample", token)["timestamp"] for token in tokens]
    assert np.diff(stamps).tolist() == [500_000]


def test_records_hold_keyframes_and_sweeps_of_all_sensors_in_time_order(tiny_nusc):
    records = nuscenes.sensor_records(tiny_nusc, nuscenes.find_scene(tiny_nusc))
    stamps = [nuscenes.stamp_ns(record) for record in records]
    assert len(records) == 3 * 7
    assert stamps == sorted(stamps)
    assert sum(record["is_key_frame"] for record in records) == 2 * 7


def test_glance_has_poses_at_each_camera_s_own_stamp(tiny_set, tiny_nusc):
    rig = nuscenes.load_glance(tiny_nusc, first_sample(tiny_nusc), tiny_set.size)
    assert rig.names == CAMERA_NAMES
    assert rig.valid.all()
    for index, name in enumerate(CAMERA_NAMES):
        expected = tiny_set.ego_from_camera(name)
        # fired before the reference stamp, so further back by what was driven since
        expected[0, 3] += tiny_set.speed_mps * tiny_set.offset_us[name] / 1e6
        np.testing.assert_allclose(rig.ego_from_camera[index], expected, atol=1e-4)


def test_intrinsics_scale_with_the_images(tiny_set, tiny_nusc):
    height, width = tiny_set.size
    rig = nuscenes.load_glance(tiny_nusc, first_sample(tiny_nusc), (height // 2, width // 4))
    assert rig.images.shape == (6, 3, height // 2, width // 4)
    scale = np.diag([0.25, 0.5, 1.0])
    np.testing.assert_allclose(rig.intrinsics[3], scale @ tiny_set.k, rtol=1e-6)


def test_images_are_rgb_of_the_right_camera(tiny_set, tiny_nusc):
    cv2 = pytest.importorskip("cv2")
    sample = first_sample(tiny_nusc)
    rig = nuscenes.load_glance(tiny_nusc, sample, tiny_set.size, ("CAM_BACK", "CAM_FRONT"))
    record = tiny_nusc.get("sample_data", tiny_nusc.get("sample", sample)["data"]["CAM_FRONT"])
    stored = cv2.imread(str(tiny_set.root / record["filename"]))[..., ::-1] / 255.0
    np.testing.assert_allclose(rig.images[1].permute(1, 2, 0), stored, atol=1e-6)


def test_lidar_comes_in_the_ego_frame_without_the_vehicle(tiny_set, tiny_nusc):
    points = nuscenes.lidar_points(tiny_nusc, first_sample(tiny_nusc))
    expected = tiny_set.lidar_points[[0, 1, 3], :3] + (1.0, 0.0, 1.8)
    np.testing.assert_allclose(points, expected, atol=1e-5)


def test_box_is_in_the_ego_frame_with_its_velocity(tiny_nusc):
    (box,) = nuscenes.boxes(tiny_nusc, first_sample(tiny_nusc))
    np.testing.assert_allclose(box.center_m, (20.0, 0.0, 0.8), atol=1e-6)
    assert box.size_m == (4.0, 2.0, 1.6)
    assert box.yaw_rad == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(box.velocity_mps, (10.0, 0.0), atol=1e-6)
    assert (box.category, box.label, box.lidar_points, box.visibility) == ("vehicle.car", 4, 11, 4)


def test_splits_come_from_the_data_set_itself(tiny_set, tiny_nusc):
    names = [scene["name"] for scene in nuscenes.scenes_of_split(tiny_nusc, "train")]
    assert names == [tiny_set.scene]
    assert nuscenes.scenes_of_split(tiny_nusc, "all") == tiny_nusc.scene
    with pytest.raises(DatasetError, match="choose from all, train"):
        nuscenes.scenes_of_split(tiny_nusc, "night")


def test_occ3d_path(tiny_set, tiny_nusc):
    sample = first_sample(tiny_nusc)
    expected = tiny_set.root / "gts" / tiny_set.scene / sample / "labels.npz"
    assert nuscenes.occ3d_path(tiny_nusc, sample) == expected


def test_other_folder_is_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match="not a nuScenes folder"):
        nuscenes.open_dataset(tmp_path)


def test_unknown_version_names_those_there(tiny_set):
    with pytest.raises(DatasetError, match=tiny_set.version):
        nuscenes.open_dataset(tiny_set.root, "v1.0-trainval")


def test_two_versions_ask_for_a_choice(own_set):
    shutil.copytree(own_set.root / own_set.version, own_set.root / "v1.0-other")
    with pytest.raises(DatasetError, match="--version"):
        nuscenes.open_dataset(own_set.root)


def test_missing_table_is_named(own_set):
    (own_set.root / own_set.version / "ego_pose.json").unlink()
    with pytest.raises(DatasetError, match="ego_pose"):
        nuscenes.open_dataset(own_set.root)


def test_damaged_table_is_a_named_error(own_set):
    table = own_set.root / own_set.version / "sample.json"
    table.write_text(table.read_text()[:50])
    with pytest.raises(DatasetError, match="do not load"):
        nuscenes.open_dataset(own_set.root)


def test_unknown_scene_names_those_there(tiny_nusc):
    with pytest.raises(DatasetError, match="it holds scene-0007"):
        nuscenes.find_scene(tiny_nusc, "scene-0001")


def test_unknown_sample_is_a_named_error(tiny_nusc):
    with pytest.raises(DatasetError, match="no sample 'abc'"):
        nuscenes.load_glance(tiny_nusc, "abc", (8, 8))


def test_missing_and_truncated_images_are_named(own_set):
    nusc = nuscenes.open_dataset(own_set.root)
    sample = first_sample(nusc)
    record = nusc.get("sample_data", nusc.get("sample", sample)["data"]["CAM_BACK"])
    path = own_set.root / record["filename"]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=path.name):
        nuscenes.load_glance(nusc, sample, own_set.size)
    path.unlink()
    with pytest.raises(DatasetError, match=path.name):
        nuscenes.load_glance(nusc, sample, own_set.size)


def test_cut_lidar_file_is_named(own_set):
    nusc = nuscenes.open_dataset(own_set.root)
    sample = first_sample(nusc)
    path = own_set.root / nuscenes.reference_record(nusc, sample)["filename"]
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DatasetError, match="truncated"):
        nuscenes.lidar_points(nusc, sample)


def test_camera_that_is_not_in_the_tables_is_invalid(own_set):
    table = own_set.root / own_set.version / "sample_data.json"
    rows = [row for row in json.loads(table.read_text()) if "CAM_BACK__" not in row["filename"]]
    table.write_text(json.dumps(rows))
    nusc = nuscenes.open_dataset(own_set.root)
    rig = nuscenes.load_glance(nusc, first_sample(nusc), own_set.size)
    assert rig.valid.tolist() == [name != "CAM_BACK" for name in CAMERA_NAMES]
    assert torch.equal(rig.images[3], torch.zeros(3, *own_set.size))
