"""Reading a log of known numbers, and logs that are broken."""

import numpy as np
import pytest
import torch

from distillnerf_ros.errors import DatasetError
from distillnerf_ros.scene.log import read_log

SIZE = (12, 16)


def read(nusc, hold_out=0, sky=None):
    return read_log(nusc, nusc.scene[0], SIZE, hold_out, sky)


def test_images_have_their_own_stamps_poses_and_calibration(fake_nusc):
    log = read(fake_nusc)
    assert log.cameras == ("CAM_FRONT", "CAM_BACK")
    assert log.images.shape == (8, 3, *SIZE)
    assert log.times_s.tolist() == pytest.approx([0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    # The scene's frame is base_link at the middle keyframe: the third stamp, at x = 2 m, y = 5 m.
    front = [f for f in range(8) if log.cameras[log.camera[f]] == "CAM_FRONT"]
    assert log.path_m[front, 0].tolist() == pytest.approx([-2, -1, 0, 1])
    assert log.path_m[:, 1].abs().max() < 1e-6
    ahead = log.scene_from_camera[front[0]] @ torch.tensor([0.0, 0, 1, 0])
    torch.testing.assert_close(ahead, torch.tensor([1.0, 0, 0, 0]))
    # Half of (24, 16, 12), whose pixel centres count from 0: half a pixel is a quarter then.
    torch.testing.assert_close(
        log.intrinsics[0], torch.tensor([[12.0, 0, 8.25], [0, 12, 6.25], [0, 0, 1]])
    )


def test_lidar_lies_in_the_scene_s_frame(fake_nusc):
    sweeps = read(fake_nusc).sweeps
    assert sweeps is not None
    torch.testing.assert_close(sweeps.origins_m[:, 0], torch.tensor([-2.0, -1, 0, 1]))
    walls = [sweeps.points_m[sweeps.sweep == s][:, 0].mean().item() for s in range(4)]
    assert walls == pytest.approx([4, 5, 6, 7], abs=1e-4)
    rays, ranges = sweeps.rays(torch.tensor([0, 35]))
    ends = rays.origins + ranges[:, None] * rays.directions
    torch.testing.assert_close(ends, sweeps.points_m[[0, 35]])


def test_every_so_many_th_stamp_is_held_out(fake_nusc):
    assert read(fake_nusc, hold_out=2).held_out.tolist() == [False, False, True, True] * 2
    assert not read(fake_nusc).held_out.any()


def test_one_damaged_image_is_left_out_and_named(fake_nusc, tmp_path, capsys):
    records = fake_nusc.tables["sample_data"]
    for number in range(12):  # one of 20 is damaged
        for name in ("CAM_FRONT",):
            records[f"more{number}"] = dict(records[f"{name}-3"], token=f"more{number}")
    path = tmp_path / "CAM_BACK-1.jpg"
    path.write_bytes(path.read_bytes()[:200])
    log = read(fake_nusc)
    assert "CAM_BACK-1" not in log.tokens
    assert len(log.tokens) == 19
    assert "CAM_BACK-1.jpg" in capsys.readouterr().err


def test_many_damaged_images_are_refused(fake_nusc, tmp_path):
    for stamp in range(2):
        (tmp_path / f"CAM_BACK-{stamp}.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="2 of 8 images are damaged"):
        read(fake_nusc)


def test_poses_that_jump_are_refused(fake_nusc):
    for name in ("CAM_FRONT", "CAM_BACK", "LIDAR_TOP"):
        fake_nusc.tables["ego_pose"][f"{name}-2"]["translation"] = [40, 5, 0]
    with pytest.raises(DatasetError, match=r"jumps 39\.0 m within 0\.100 s"):
        read(fake_nusc)


def test_a_pose_that_is_no_number_is_refused(fake_nusc):
    fake_nusc.tables["ego_pose"]["CAM_BACK-2"]["translation"] = [np.nan, 5, 0]
    with pytest.raises(DatasetError, match="jumps"):
        read(fake_nusc)


def test_a_log_without_lidar_is_read(fake_nusc):
    records = fake_nusc.tables["sample_data"]
    for token in [t for t in records if t.startswith("LIDAR")]:
        del records[token]
    log = read(fake_nusc)
    assert log.sweeps is None
    assert len(log.tokens) == 8


def test_a_log_without_images_is_refused(fake_nusc):
    records = fake_nusc.tables["sample_data"]
    for token in [t for t in records if t.startswith("CAM")]:
        del records[token]
    with pytest.raises(DatasetError, match="no image"):
        read(fake_nusc)


def test_sky_masks_are_those_of_the_images(fake_nusc, tmp_path):
    import cv2

    for number, token in enumerate(fake_nusc.tables["sample_data"]):
        mask = np.full((24, 32), 255 * (number % 2), np.uint8)
        cv2.imwrite(str(tmp_path / f"{token}.png"), mask)
    log = read(fake_nusc, sky=tmp_path)
    assert log.sky is not None
    numbers = [list(fake_nusc.tables["sample_data"]).index(token) for token in log.tokens]
    assert (log.sky.float().mean((1, 2)) == torch.tensor(numbers) % 2).all()
