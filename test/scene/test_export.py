"""Targets on disk and back."""

import dataclasses
import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from distillnerf_ros.errors import DatasetError, SceneError
from distillnerf_ros.scene import log as log_module
from distillnerf_ros.scene.config import SceneConfig
from distillnerf_ros.scene.export import OFFSETS_M, export_scene, read_targets
from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.log import read_log

SIZE = (12, 16)


@pytest.fixture
def log(fake_nusc):
    return read_log(fake_nusc, fake_nusc.scene[0], SIZE)


@pytest.fixture
def walled(scene_config: SceneConfig) -> SceneField:
    """Opaque from 5 m on every side, but open above 3 m."""
    field = SceneField(dataclasses.replace(scene_config, samples=200))

    def parts(points, time_s):
        from distillnerf_ros.scene.field import Parts

        solid = (points[:, :2].abs().amax(1) > 5) & (points[:, 2] < 3)
        nothing = torch.zeros(len(points))
        density = torch.where(solid, 30.0, 1e-6)
        return Parts(density, nothing, torch.zeros(len(points), 4), nothing)

    field.parts = parts
    return field


def export(field, log, nusc, out):
    return export_scene(field, log, nusc, nusc.scene[0], out)


def test_targets_come_back(walled, log, fake_nusc, tmp_path):
    assert export(walled, log, fake_nusc, tmp_path / "t") == 2
    targets = read_targets(tmp_path / "t", "scene-0001", "k1")
    assert targets.names == ("CAM_FRONT", "CAM_BACK")
    assert targets.depth_m.shape == (2, *SIZE)
    # At the second keyframe the vehicle is where the scene's frame is: the wall is 5 m away.
    assert targets.depth_m[:, 6].median().item() == pytest.approx(5.0, abs=0.6)
    assert targets.sky[:, 0].any()
    assert targets.depth_m[targets.sky].isinf().all()
    assert len(targets.virtual) == len(OFFSETS_M)
    up, left, right = targets.virtual
    place = up.rig.ego_from_camera[:, :3, 3]
    torch.testing.assert_close(place, torch.tensor([[0.0, 0, 2.5]]).expand(2, 3))
    assert left.rig.ego_from_camera[0, 1, 3] == 1
    assert right.rig.ego_from_camera[0, 1, 3] == -1
    for view in targets.virtual:
        assert view.valid.any()
        assert view.depth_m[~view.valid].isnan().all()
        assert not view.depth_m[view.valid].isnan().any()


def test_what_only_moved_cameras_see_is_not_valid(walled, log, fake_nusc, tmp_path):
    export(walled, log, fake_nusc, tmp_path / "t")
    targets = read_targets(tmp_path / "t", "scene-0001", "k1")
    left = targets.virtual[1]
    hits = left.depth_m.isfinite() | ~left.valid
    assert not left.valid[0, 8, 0]  # beyond the left border of the unmoved image
    assert hits[0, 8, 0]
    assert left.valid[0, 8, 12]


def test_a_keyframe_without_an_image_has_targets_of_no_camera(
    walled, fake_nusc, tmp_path, capsys, monkeypatch
):
    for name in ("CAM_FRONT", "CAM_BACK"):
        (tmp_path / f"{name}-2.jpg").write_bytes(b"damaged")
    monkeypatch.setattr(log_module, "MAX_DAMAGED", 0.25)
    blind = read_log(fake_nusc, fake_nusc.scene[0], SIZE)
    assert export(walled, blind, fake_nusc, tmp_path / "t") == 2
    assert "keyframe k1 has no image that can be read" in capsys.readouterr().err
    assert len(read_targets(tmp_path / "t", "scene-0001", "k0").names) == 2
    targets = read_targets(tmp_path / "t", "scene-0001", "k1")
    assert (targets.names, targets.virtual) == ((), ())
    assert targets.depth_m.shape == targets.sky.shape == (0, *SIZE)


def test_an_export_goes_on_where_it_stopped(walled, log, fake_nusc, tmp_path):
    export(walled, log, fake_nusc, tmp_path / "t")
    kept = tmp_path / "t" / "scene-0001" / "k0.npz"
    kept.write_bytes(b"kept")
    (tmp_path / "t" / "scene-0001" / "k1.npz").unlink()
    export(walled, log, fake_nusc, tmp_path / "t")
    assert kept.read_bytes() == b"kept"
    assert read_targets(tmp_path / "t", "scene-0001", "k1").names
    with pytest.raises(DatasetError, match="k0"):
        read_targets(tmp_path / "t", "scene-0001", "k0")


def test_targets_of_another_field_are_not_mixed(walled, log, fake_nusc, tmp_path):
    export(walled, log, fake_nusc, tmp_path / "t")
    walled.vignette.data += 1
    with pytest.raises(DatasetError, match="another field"):
        export(walled, log, fake_nusc, tmp_path / "t")


def test_a_full_disk_leaves_whole_files_only(walled, log, fake_nusc, tmp_path, monkeypatch):
    written = []
    save = np.savez_compressed

    def full(file, **arrays):
        if written:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(1)
        save(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(SceneError, match="make room"):
        export(walled, log, fake_nusc, tmp_path / "t")
    names = sorted(path.name for path in (tmp_path / "t" / "scene-0001").iterdir())
    assert names == ["k0.npz", "scene.json"]
    monkeypatch.setattr(np, "savez_compressed", save)
    export(walled, log, fake_nusc, tmp_path / "t")
    assert read_targets(tmp_path / "t", "scene-0001", "k1").depth_m.isfinite().any()


def test_a_full_disk_leaves_no_half_of_the_header(walled, log, fake_nusc, tmp_path, monkeypatch):
    def full(path, content):
        with path.open("wb") as file:
            file.write(content[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        patch.setattr(Path, "write_text", lambda path, text: full(path, text.encode()))
        with pytest.raises(SceneError, match="cannot be written"):
            export(walled, log, fake_nusc, tmp_path / "t")
    assert list((tmp_path / "t" / "scene-0001").iterdir()) == []
    assert export(walled, log, fake_nusc, tmp_path / "t") == 2


def test_missing_targets_name_the_command(tmp_path):
    with pytest.raises(DatasetError, match="distillnerf scene --export"):
        read_targets(tmp_path, "scene-0001", "k0")


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_damaged_targets_say_what_to_do(walled, log, fake_nusc, tmp_path, damage):
    export(walled, log, fake_nusc, tmp_path / "t")
    file = tmp_path / "t" / "scene-0001" / "k1.npz"
    data = bytearray(file.read_bytes())
    middle = range(len(data) // 4, len(data) // 2)
    if damage == "flipped":
        for place in middle:
            data[place] ^= 255
    file.write_bytes({"cut": data[: middle.stop], "empty": b""}.get(damage, data))
    with pytest.raises(DatasetError, match=r"remove it .* 'distillnerf scene --export"):
        read_targets(tmp_path / "t", "scene-0001", "k1")
