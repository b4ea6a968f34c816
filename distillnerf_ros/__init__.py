"""Open-vocabulary 3D perception from one glance of the surround cameras (DistillNeRF)."""

import os

__version__ = "0.1.0"

# OpenMP reads this when torch is imported. By default its idle threads spin for milliseconds, and
# starve what shares the processors: with eight busy processes on two cores a frame took 47 s, and
# 3 s where they sleep at once. But then each of a frame's thousands of parallel loops wakes them:
# GNU's threads spin for some 20 us first, which takes a tenth off a frame on a quiet machine and
# adds a twentieth beside a busy process (ten times as long: 1.4 times as fast and 2.5 as slow).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
