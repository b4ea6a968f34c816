"""Freed memory stays with the process."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from distillnerf_ros.memory import keep_memory
if {keep}:
    keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(48 << 18)
before = faults()
for _ in range(4):
    torch.ones(48 << 18)
print(faults() - before)
"""


def faults(keep: bool) -> int:
    """Page faults of making a tensor of 48 MB four times over."""
    code = FAULTS.format(keep=keep)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is asked")
def test_a_large_tensor_is_not_made_of_new_pages_each_time() -> None:
    assert faults(keep=True) < 100 < faults(keep=False)
