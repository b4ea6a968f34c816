"""The demonstration: the chain through ROS, the pictures made of it, and queries without ROS."""
