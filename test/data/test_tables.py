"""nuScenes tables as they are written."""

import json

import numpy as np
import pytest

from distillnerf_ros.data.categories import LIDARSEG_CATEGORIES, OCC3D_FROM_CATEGORY
from distillnerf_ros.data.tables import (
    SceneTables,
    pose_fields,
    shared_tables,
    token,
    write_tables,
)
from distillnerf_ros.taxonomy import OCC3D_CLASSES


def test_tokens_look_like_those_of_nuscenes_and_depend_on_every_part():
    assert len(token("a", 1)) == 32
    assert token("a", 1) == token("a", 1)
    assert len({token("a", 1), token("a", 2), token("b", 1)}) == 3


def test_categories_cover_every_occ3d_class():
    assert len(LIDARSEG_CATEGORIES) == 32
    assert set(OCC3D_FROM_CATEGORY.values()) == set(range(len(OCC3D_CLASSES)))


def test_categories_are_those_of_nuscenes():
    color_map = pytest.importorskip("nuscenes.utils.color_map")
    names = [row["name"] for row in shared_tables()["category"]]
    assert names == list(color_map.get_colormap())


def test_rotation_is_written_scalar_first_with_positive_w():
    turn = np.eye(4)
    turn[:2, :2] = [[0, -1], [1, 0]]  # a quarter turn about z
    half = np.sqrt(0.5)
    np.testing.assert_allclose(pose_fields(turn)["rotation"], (half, 0, 0, half), atol=1e-12)


def test_records_are_linked_within_their_track():
    tables = SceneTables("scene-0001", "car-1", "here", "2020-01-01")
    for step in range(3):
        sample = tables.add_sample(step * 500_000)
        for instance in (5, 9)[: 2 - step % 2]:
            tables.add_annotation(
                sample, instance, "vehicle.car", np.eye(4), (4.0, 2.0, 1.5), 3, 4, []
            )
    rows = tables.finish("three frames")
    assert [row["prev"] for row in rows["sample"]] == [
        "",
        *(r["token"] for r in rows["sample"][:2]),
    ]
    counts = sorted(row["nbr_annotations"] for row in rows["instance"])
    assert counts == [2, 3]
    by_token = {row["token"]: row for row in rows["sample_annotation"]}
    for instance in rows["instance"]:
        row, length = by_token[instance["first_annotation_token"]], 1
        while row["next"]:
            assert by_token[row["next"]]["prev"] == row["token"]
            row, length = by_token[row["next"]], length + 1
        assert length == instance["nbr_annotations"]
        assert row["token"] == instance["last_annotation_token"]


def test_tables_are_replaced_as_a_whole(tmp_path):
    for name in ("scene-0001", "scene-0002"):
        tables = SceneTables(name, "car-1", "here", "2020-01-01")
        tables.add_sample(0)
        write_tables(tmp_path, "v1.0-x", [tables.finish("one frame")], {"val": [name]})
    (scene,) = json.loads((tmp_path / "v1.0-x/scene.json").read_text())
    assert scene["name"] == "scene-0002"
    assert json.loads((tmp_path / "v1.0-x/splits.json").read_text()) == {"val": ["scene-0002"]}
    assert [path.name for path in tmp_path.iterdir()] == ["v1.0-x"]
