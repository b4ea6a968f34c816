"""Weights on disk: one safetensors file with the configuration and the semantics inside."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from distillnerf_ros.config import ModelConfig, from_json, to_json
from distillnerf_ros.errors import CheckpointError, ConfigError
from distillnerf_ros.files import whole_file
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.query.kinds import Usual
from distillnerf_ros.query.semantics import TENSORS, Semantics
from distillnerf_ros.teachers.pca import WEIGHTS_FOLDER, Pca

FORMAT = "distillnerf_ros/1"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A model with what is needed to understand its features.

    Attributes:
        model: the network, in evaluation mode.
        semantics: meaning of the features; None if they were not trained.
    """

    model: DistillNeRF
    semantics: Semantics | None


def shipped_weights() -> tuple[str, ...]:
    """Names of the weights that come with the package."""
    names = []
    for path in sorted(WEIGHTS_FOLDER.glob("*.safetensors")):
        if _metadata(path).get("format") == FORMAT:
            names.append(path.stem)
    return tuple(names)


def find_weights(weights: str) -> Path:
    """Path of shipped weights by name, or of a file.

    Raises:
        CheckpointError: neither exists.
    """
    shipped = WEIGHTS_FOLDER / f"{weights}.safetensors"
    if "/" not in weights and shipped.is_file():
        return shipped
    if Path(weights).is_file():
        return Path(weights)
    raise CheckpointError(
        f"weights {weights!r} are neither a file nor shipped; give the path of a .safetensors "
        f"file or one of these names: {', '.join(shipped_weights()) or '(none is shipped)'}"
    )


def save_checkpoint(
    path: Path | str,
    model: DistillNeRF,
    semantics: Semantics | None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights, configuration and semantics; the file appears whole or not at all.

    Args:
        path: where to.
        model: the network.
        semantics: meaning of the features, or None.
        dtype: number format of the weights on disk; float16 halves the file.

    Raises:
        CheckpointError: the file cannot be written.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.state_dict().items()}
    metadata = {"format": FORMAT, "config": to_json(model.config)}
    if semantics is not None:
        metadata["clip"] = semantics.clip
        metadata["pca_explained"] = repr(semantics.pca.explained)
        for name in ("mean", "basis", "std"):
            tensors[f"pca.{name}"] = getattr(semantics.pca, name)
        for name in TENSORS:
            tensors[f"semantics.{name}"] = getattr(semantics, name)
        if semantics.usual is not None:
            tensors["usual.mean"] = semantics.usual.mean
            tensors["usual.spread"] = semantics.usual.spread
    converted = {
        key: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
        for key, value in tensors.items()
    }
    with whole_file(Path(path), CheckpointError) as part:
        save_file(converted, part, metadata)


def load_checkpoint(weights: str, expected: ModelConfig | None = None) -> Checkpoint:
    """Read weights by shipped name or path.

    Args:
        weights: name or path.
        expected: refuse weights of any other configuration.

    Raises:
        CheckpointError: missing, damaged, of another format or another configuration.
    """
    path = find_weights(weights)
    metadata = _metadata(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}; only weights "
            "written by 'distillnerf train' can be loaded"
        )
    try:
        config = from_json(metadata["config"])
    except (ConfigError, KeyError) as error:
        raise CheckpointError(f"{path} has an unreadable configuration: {error}") from error
    if expected is not None and config != expected:
        raise CheckpointError(
            f"{path} holds weights of preset {config.preset!r}, expected {expected.preset!r} with "
            f"{_first_difference(config, expected)}; choose the weights or the preset accordingly"
        )
    return _build(path, metadata, config)


def _build(path: Path, metadata: dict[str, str], config: ModelConfig) -> Checkpoint:
    from safetensors.torch import load_file

    tensors = {
        key: value.float() if value.is_floating_point() else value
        for key, value in load_file(path).items()
    }
    state = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    model = DistillNeRF(config)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit its own configuration: {error}; it was written by another "
            "version of this package, train it again or take the shipped weights"
        ) from error
    try:
        return Checkpoint(model.eval(), _semantics(metadata, tensors))
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} says that its features have a meaning, but lacks it ({error!r}); it is "
            "damaged: download or train it again"
        ) from error


def _semantics(metadata: dict[str, str], tensors: dict[str, Tensor]) -> Semantics | None:
    if "clip" not in metadata:
        return None
    mean, basis, std = (tensors[f"pca.{name}"] for name in ("mean", "basis", "std"))
    pca = Pca(mean, basis, std, float(metadata["pca_explained"]))
    texts = {name: tensors[f"semantics.{name}"] for name in TENSORS}
    usual = None
    if "usual.mean" in tensors:
        usual = Usual(tensors["usual.mean"], tensors["usual.spread"])
    return Semantics(metadata["clip"], pca, usual=usual, **texts)


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file ({error}); download or train it again"
        ) from error


def _first_difference(got: ModelConfig, expected: ModelConfig) -> str:
    for field in dataclasses.fields(ModelConfig):
        a, b = getattr(got, field.name), getattr(expected, field.name)
        if a != b:
            return f"{field.name} = {b}, got {a}"
    return "the same fields"
