"""Files of a fit: safetensors with the field, what it was fitted to, and what goes on from it."""

from pathlib import Path

from torch import Tensor

from distillnerf_ros.errors import CheckpointError, SceneError
from distillnerf_ros.files import AGAIN, whole_file
from distillnerf_ros.scene.config import SceneConfig
from distillnerf_ros.scene.field import SceneField

FORMAT = "distillnerf_ros/scene/3"


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file that appears whole or not at all.

    Raises:
        SceneError: it cannot be written.
    """
    from safetensors.torch import save_file

    advice = f"{AGAIN}: it goes on from the last state"
    with whole_file(path, SceneError, advice) as part:
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, part, metadata)


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file that ``distillnerf scene`` wrote.

    Raises:
        CheckpointError: missing, damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is missing or damaged ({error}); fit the scene again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}, as "
            "'distillnerf scene' writes it"
        )
    return metadata, tensors


def load_field(path: Path) -> SceneField:
    """The field of a state file.

    Raises:
        CheckpointError: missing, damaged or something else.
    """
    metadata, tensors = read_tensors(path)
    field = SceneField(SceneConfig.from_json(metadata["config"]))
    fill_field(field, tensors, path)
    return field.eval()


def fill_field(field: SceneField, tensors: dict[str, Tensor], path: Path) -> None:
    """Give a field the weights of a state file.

    Raises:
        CheckpointError: they do not fit.
    """
    state = {k.removeprefix("field."): v for k, v in tensors.items() if k.startswith("field.")}
    try:
        field.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its configuration: {error}") from error
