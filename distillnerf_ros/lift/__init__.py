"""Lifting: image features, two depth stages, and points with features in the ego frame."""
