"""Half a pixel between this package and OpenCV."""

import cv2
import numpy as np

from distillnerf_ros.cameras.pixels import k_from_opencv, k_to_opencv

K_CV = np.array([[300.0, 0.0, 320.0], [0.0, 280.0, 240.0], [0.0, 0.0, 1.0]])


def test_opencv_projects_half_a_pixel_less():
    point = np.array([0.4, -0.25, 2.0])
    seen = cv2.projectPoints(point[None], np.zeros(3), np.zeros(3), K_CV, np.zeros(5))[0].ravel()
    ours = k_from_opencv(K_CV) @ point
    np.testing.assert_allclose(ours[:2] / ours[2], seen + 0.5)


def test_there_and_back():
    kept = K_CV.copy()
    np.testing.assert_array_equal(k_to_opencv(k_from_opencv(K_CV)), K_CV)
    np.testing.assert_array_equal(K_CV, kept)
