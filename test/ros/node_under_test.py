"""The real node on small weights; only the text tower is replaced: one fixed direction per word.

Run as a program. ``test/ros/conftest.py`` starts it.
"""

import sys
import zlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.ros.node import main

WIDTH = 8
"""E, the length of the made-up text vectors."""


class WordTower:
    """Unit vectors drawn from the text's checksum."""

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        rows = [
            torch.randn(WIDTH, generator=torch.Generator().manual_seed(zlib.crc32(text.encode())))
            for text in prompts
        ]
        return F.normalize(torch.stack(rows), dim=-1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    Pipeline._tower = WordTower()
    sys.exit(main())
