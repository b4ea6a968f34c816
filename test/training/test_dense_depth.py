"""What a teacher and the lidar say together."""

import torch

from distillnerf_ros.training.dense_depth import with_lidar

NAN, SKY = torch.nan, torch.inf


def test_a_return_counts_unless_it_lies_behind_what_the_teacher_sees() -> None:
    dense = torch.tensor([[[10.0, 10.0, 10.0, 10.0, NAN, NAN, SKY, SKY]]])
    lidar = torch.tensor([[[NAN, 9.0, 10.9, 11.1, NAN, 30.0, NAN, 30.0]]])
    said = torch.tensor([[[10.0, 9.0, 10.9, 10.0, NAN, 30.0, SKY, 30.0]]])
    torch.testing.assert_close(with_lidar(dense, lidar), said, equal_nan=True)
