"""Pictures of a field."""

from distillnerf_ros.scene.pictures import draw_over_time, draw_stamp


def test_a_stamp_has_a_column_per_camera(scene_field, scene_log):
    picture = draw_stamp(scene_field, scene_log, 0.4)
    assert picture.shape == (4 * 12, 2 * 16, 3)
    # The images nearest to 0.4 s are those of 1/3 s: frames 2 and 3.
    truth = scene_log.images[2].permute(1, 2, 0).numpy()
    assert (picture[:12, :16] == truth).all()


def test_a_strip_has_a_column_per_stamp(scene_field, scene_log):
    assert draw_over_time(scene_field, scene_log).shape == (4 * 12, 4 * 16, 3)
