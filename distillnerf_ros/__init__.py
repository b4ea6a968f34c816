"""Open-vocabulary 3D perception from one glance of the surround cameras (DistillNeRF)."""

__version__ = "0.1.0"
