"""Stand-in for ``cv_bridge`` where ROS 2 comes from wheels: names and arguments as upstream."""

from cv_bridge.core import CvBridge, CvBridgeError

__all__ = ["CvBridge", "CvBridgeError"]
