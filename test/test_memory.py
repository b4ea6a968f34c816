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
def work():
    for megabytes in (48, 40, 56, 36):
        kept = [torch.ones(megabytes << 18) for _ in range(2)]
work()
before = faults()
for _ in range(3):
    work()
print(faults() - before)
"""


def faults(keep: bool) -> int:
    """Page faults of making large tensors over and over."""
    code = FAULTS.format(keep=keep)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is asked")
def test_a_large_tensor_is_not_made_of_new_pages_each_time() -> None:
    assert 3 * faults(keep=True) < faults(keep=False)
