"""Occ3D label files."""

import numpy as np
import pytest

from distillnerf_ros.data import occ3d
from distillnerf_ros.data.occ3d import OccupancyTruth, read_labels, voxel_centers_m, write_labels
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.taxonomy import FREE_LABEL


def some_truth() -> OccupancyTruth:
    rng = np.random.default_rng(3)
    semantics = rng.integers(0, 18, occ3d.GRID_SHAPE).astype(np.uint8)
    return OccupancyTruth(semantics, semantics > 4, semantics > 9)


def test_round_trip(tmp_path):
    truth = some_truth()
    path = tmp_path / "gts/scene-0001/abc/labels.npz"
    write_labels(path, truth)
    back = read_labels(path)
    np.testing.assert_array_equal(back.semantics, truth.semantics)
    np.testing.assert_array_equal(back.mask_camera, truth.mask_camera)
    np.testing.assert_array_equal(back.mask_lidar, truth.mask_lidar)
    np.testing.assert_array_equal(back.occupied, truth.semantics != FREE_LABEL)


def test_file_has_the_names_and_types_of_occ3d(tmp_path):
    write_labels(tmp_path / "labels.npz", some_truth())
    with np.load(tmp_path / "labels.npz") as file:
        assert {name: file[name].dtype.name for name in file} == {
            "semantics": "uint8",
            "mask_lidar": "uint8",
            "mask_camera": "uint8",
        }


def test_same_truth_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_labels(tmp_path / name, some_truth())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_voxel_centres_span_the_range():
    centers = voxel_centers_m()
    np.testing.assert_allclose(centers[0, 0, 0], (-39.8, -39.8, -0.8), atol=1e-4)
    np.testing.assert_allclose(centers[-1, -1, -1], (39.8, 39.8, 5.2), atol=1e-4)


def test_missing_file_says_where_it_belongs(tmp_path):
    with pytest.raises(DatasetError, match="gts/<scene name>"):
        read_labels(tmp_path / "labels.npz")


def test_cut_file_is_refused(tmp_path):
    path = tmp_path / "labels.npz"
    write_labels(path, some_truth())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DatasetError, match="damaged"):
        read_labels(path)


def test_array_left_out_is_refused(tmp_path):
    np.savez(tmp_path / "labels.npz", semantics=some_truth().semantics)
    with pytest.raises(DatasetError, match="mask_camera"):
        read_labels(tmp_path / "labels.npz")


def test_wrong_shape_is_refused(tmp_path):
    small = np.zeros((4, 4, 4), np.uint8)
    np.savez(tmp_path / "labels.npz", semantics=small, mask_camera=small, mask_lidar=small)
    with pytest.raises(DatasetError, match=r"\(4, 4, 4\), expected \(200, 200, 16\)"):
        read_labels(tmp_path / "labels.npz")


def test_unknown_class_is_refused(tmp_path):
    wrong = np.full(occ3d.GRID_SHAPE, 18, np.uint8)
    np.savez(tmp_path / "labels.npz", semantics=wrong, mask_camera=wrong, mask_lidar=wrong)
    with pytest.raises(DatasetError, match=r"18\.\.18"):
        read_labels(tmp_path / "labels.npz")
