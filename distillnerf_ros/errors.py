"""Named errors. Each message says what was got, what was expected and what to do."""


class DistillNerfError(Exception):
    """Base class of every error this package raises on purpose."""


class CalibrationError(DistillNerfError, ValueError):
    """An intrinsic matrix, a pose or an image size cannot be used."""


class ImageError(DistillNerfError, ValueError):
    """An image is truncated, of an unknown encoding, or of a size its calibration contradicts."""


class StaleTransformError(DistillNerfError, LookupError):
    """A transform is missing, or does not exist at the stamp that was asked for."""


class CheckpointError(DistillNerfError, ValueError):
    """Weights are missing, damaged, or belong to another configuration."""


class ConfigError(DistillNerfError, ValueError):
    """A configuration value is out of range or unknown."""


class DatasetError(DistillNerfError, ValueError):
    """A folder, table, bag or label file is not what it should be."""


class QueryError(DistillNerfError, ValueError):
    """A text, patch or point query cannot be answered."""


class TrainingError(DistillNerfError, RuntimeError):
    """Training cannot go on (for example: the loss is not a number)."""


class SceneError(DistillNerfError, RuntimeError):
    """A scene's field cannot be fitted or written (for example: the disk is full)."""


class TeacherError(DistillNerfError, RuntimeError):
    """A teacher's features cannot be made or written (for example: the disk is full)."""


class ProcessError(DistillNerfError, RuntimeError):
    """A process that this one started failed or did not answer."""
