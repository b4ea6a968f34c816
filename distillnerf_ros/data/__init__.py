"""Data sets and recordings: nuScenes, Occ3D, rosbag2."""
