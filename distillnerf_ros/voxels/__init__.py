"""The sparse two-level voxel grid, what is pooled into it, and the field it forms."""
