"""Per-scene neural fields of driving logs: static and moving parts, sky, cameras' exposure."""
