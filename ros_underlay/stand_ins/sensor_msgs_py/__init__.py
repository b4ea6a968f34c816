"""Stand-in for ``sensor_msgs_py`` on machines whose ROS 2 comes from wheels."""
