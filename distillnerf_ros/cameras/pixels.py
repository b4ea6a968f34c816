"""Half a pixel: this package counts from the image's edge, ROS, nuScenes and OpenCV do not.

Here the left edge is u = 0 and the first centre (0.5, 0.5), so that resizing multiplies K. There
the first centre is (0, 0). At 112x64 the half pixel is 0.11 m sideways at 20 m.
"""

import numpy as np
from jaxtyping import Float64


def k_from_opencv(k: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
    """K in this package's pixels, of one with pixel centres at whole numbers."""
    shifted = k.copy()
    shifted[:2, 2] += 0.5
    return shifted


def k_to_opencv(k: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
    """The inverse of :func:`k_from_opencv`."""
    shifted = k.copy()
    shifted[:2, 2] -= 0.5
    return shifted
