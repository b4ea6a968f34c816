"""Rotations in ROS order against closed forms; for the stand-in and for the real package."""

import math

import numpy as np
import pytest
import tf_transformations as tf

HALF = math.sqrt(0.5)
# A quarter turn to the left (about z) takes x to y.
LEFT = np.array([0.0, 0.0, HALF, HALF])


def test_quaternion_matrix_of_a_quarter_turn():
    expected = [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(tf.quaternion_matrix(LEFT), expected, atol=1e-12)


def test_quaternion_from_matrix_is_the_way_back():
    quaternion = tf.quaternion_from_matrix(tf.quaternion_matrix([0.1, -0.2, 0.3, 0.9]))
    expected = np.array([0.1, -0.2, 0.3, 0.9]) / math.sqrt(0.95)
    np.testing.assert_allclose(quaternion, expected, atol=1e-12)


def test_quaternion_from_euler_is_roll_pitch_yaw():
    np.testing.assert_allclose(tf.quaternion_from_euler(0, 0, math.pi / 2), LEFT, atol=1e-12)
    np.testing.assert_allclose(
        tf.quaternion_from_euler(math.pi / 2, 0, 0), [HALF, 0, 0, HALF], atol=1e-12
    )


def test_euler_from_quaternion_is_the_way_back():
    angles = (0.1, -0.4, 2.5)
    np.testing.assert_allclose(
        tf.euler_from_quaternion(tf.quaternion_from_euler(*angles)), angles, atol=1e-12
    )


def test_euler_matrix_is_the_product_of_the_three_turns():
    roll, pitch, yaw = (
        tf.rotation_matrix(angle, axis)
        for angle, axis in zip((0.1, 0.2, 0.3), np.eye(3), strict=True)
    )
    np.testing.assert_allclose(tf.euler_matrix(0.1, 0.2, 0.3), yaw @ pitch @ roll, atol=1e-12)
    np.testing.assert_allclose(tf.euler_from_matrix(yaw @ pitch @ roll), (0.1, 0.2, 0.3))


def test_multiply_applies_the_second_first():
    up = tf.quaternion_about_axis(0.7, (0, 1, 0))
    np.testing.assert_allclose(
        tf.quaternion_matrix(tf.quaternion_multiply(LEFT, up)),
        tf.quaternion_matrix(LEFT) @ tf.quaternion_matrix(up),
        atol=1e-12,
    )


def test_inverse_undoes():
    for inverse in (tf.quaternion_inverse(LEFT), tf.quaternion_conjugate(LEFT)):
        np.testing.assert_allclose(tf.quaternion_multiply(LEFT, inverse), [0, 0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_slerp_turns_evenly(fraction: float):
    between = tf.quaternion_slerp([0, 0, 0, 1], LEFT, fraction)
    expected = tf.quaternion_about_axis(fraction * math.pi / 2, (0, 0, 1))
    np.testing.assert_allclose(between, expected, atol=1e-12)


def test_slerp_takes_the_shorter_way():
    # -q is the same rotation as q, so half way is the eighth turn and not the one backwards.
    between = tf.quaternion_slerp([0, 0, 0, 1], -LEFT, 0.5)
    expected = tf.quaternion_matrix(tf.quaternion_about_axis(math.pi / 4, (0, 0, 1)))
    np.testing.assert_allclose(tf.quaternion_matrix(between), expected, atol=1e-12)


def test_slerp_between_equals_is_the_same():
    np.testing.assert_allclose(tf.quaternion_slerp(LEFT, LEFT, 0.3), LEFT, atol=1e-12)


def test_matrices_concatenate_from_left_to_right():
    move = tf.translation_matrix([1, 2, 3])
    turn = tf.quaternion_matrix(LEFT)
    both = tf.concatenate_matrices(move, turn)
    np.testing.assert_allclose(both @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-12)
    np.testing.assert_allclose(tf.translation_from_matrix(both), [1, 2, 3])
    np.testing.assert_allclose(
        tf.concatenate_matrices(both, tf.inverse_matrix(both)), tf.identity_matrix(), atol=1e-12
    )


def test_rotation_about_a_point_leaves_it():
    turn = tf.rotation_matrix(0.8, [0, 0, 1], point=[2, 1, 0])
    np.testing.assert_allclose(turn @ [2, 1, 0, 1], [2, 1, 0, 1], atol=1e-12)
    angle, axis, point = tf.rotation_from_matrix(turn)
    assert tf.is_same_transform(turn, tf.rotation_matrix(angle, axis, point))
    assert not tf.is_same_transform(turn, tf.identity_matrix())


def test_lengths():
    assert tf.vector_norm([3, 4]) == pytest.approx(5)
    np.testing.assert_allclose(tf.unit_vector([0, 0, 9]), [0, 0, 1])
