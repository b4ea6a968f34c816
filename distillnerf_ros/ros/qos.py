"""Quality of service that a user may override."""

import copy
from typing import Any

from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions


def overridable(profile: QoSProfile) -> dict[str, Any]:
    """Arguments of ``create_publisher`` and ``create_subscription`` for a profile.

    ``qos_overrides.<topic>.{subscription,publisher}.*`` replace what it says. rclpy's default
    leaves out durability, without which a camera_info that was published once (transient local)
    is never received, and it writes the overrides into the profile: each topic has its own.
    """
    kinds = (
        QoSPolicyKind.HISTORY,
        QoSPolicyKind.DEPTH,
        QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY,
    )
    options = QoSOverridingOptions(policy_kinds=kinds)
    return {"qos_profile": copy.copy(profile), "qos_overriding_options": options}
