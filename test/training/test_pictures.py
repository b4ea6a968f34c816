"""Pictures of glances."""

import sys
from pathlib import Path

import numpy as np
import torch

from distillnerf_ros.training.pictures import draw_glance

sys.path.insert(0, str(Path(__file__).parent))
from test_trainer import ground_glance, make_trainer


def test_a_picture_has_a_column_per_camera_and_shows_what_is_known() -> None:
    sample = ground_glance()
    picture = draw_glance(make_trainer().averaged_model(), sample)
    assert picture.shape == (4 * 32, 2 * 64, 3)
    expected = (sample.rig.images[1] * 255).byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(picture[:32, 64:], expected)
    truth = picture[96:, :64]
    sky = sample.depth_m[0].isinf().numpy()
    assert (truth[sky] == 0).all()
    assert (truth[~sky].max(axis=1) > 0).all()
    assert torch.isfinite(sample.depth_m[0]).any()
