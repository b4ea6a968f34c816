"""What of a question is checked before the model is asked."""

import pytest

pytest.importorskip("rclpy")

from distillnerf_msgs.srv import QueryImage, QueryText

from distillnerf_ros.errors import QueryError
from distillnerf_ros.ros.perception import Perception
from distillnerf_ros.ros.services import MAX_PROMPTS, _patch, query_text

pytestmark = pytest.mark.ros


def test_a_patch_that_ends_at_the_edge_ends_at_the_edge_of_the_small_image():
    """Divided first, 1600 * (224 / 1600) would be above 224."""
    for width in range(200, 4200):
        request = QueryImage.Request(camera="A", u=width - 10, v=0, width=10, height=width)
        u0, v0, u1, v1 = _patch(request, (width, width), (128, 224))
        assert (v0, u1, v1) == (0, 224, 128)
        assert u0 == pytest.approx(224 * (1 - 10 / width))


def test_more_prompts_than_one_question_may_have_are_refused():
    request = QueryText.Request(prompts=["bus"] * (MAX_PROMPTS + 1))
    with pytest.raises(QueryError, match=r"257 prompts; expected at most 256 in one question"):
        query_text(object.__new__(Perception), request, QueryText.Response())
