"""Pictures of a field."""

import cv2
import pytest

from distillnerf_ros.errors import SceneError
from distillnerf_ros.scene.pictures import draw_over_time, draw_stamp, write_picture


def test_a_stamp_has_a_column_per_camera(scene_field, scene_log, tmp_path):
    picture = draw_stamp(scene_field, scene_log, 0.4)
    assert picture.shape == (4 * 12, 2 * 16, 3)
    # The images nearest to 0.4 s are those of 1/3 s: frames 2 and 3.
    truth = scene_log.images[2].permute(1, 2, 0).numpy()
    assert (picture[:12, :16] == truth).all()
    write_picture(tmp_path / "a" / "b.png", picture)
    assert (cv2.imread(str(tmp_path / "a" / "b.png"))[..., ::-1] == picture).all()


def test_a_strip_has_a_column_per_stamp(scene_field, scene_log):
    assert draw_over_time(scene_field, scene_log).shape == (4 * 12, 4 * 16, 3)


def test_a_picture_that_cannot_be_written_is_an_error(scene_field, scene_log, tmp_path):
    (tmp_path / "b.png").mkdir()
    with pytest.raises(SceneError, match="disk full"):
        write_picture(tmp_path / "b.png", draw_stamp(scene_field, scene_log, 0.0))
