"""LPIPS against loops, with random weights."""

import argparse
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from distillnerf_ros.errors import CheckpointError, ConfigError
from distillnerf_ros.teachers.torchvision_shim import ensure_torchvision
from distillnerf_ros.training.judge import picture_errors
from distillnerf_ros.training.lpips import (
    ALEXNET,
    VGG16,
    Lpips,
    add_lpips_arguments,
    lpips_files,
)
from distillnerf_ros.training.objective import LossWeights, Objective

sys.path.insert(0, str(Path(__file__).parent))
from test_trainer import ground_glance, make_trainer

WIDTHS = (64, 192, 384, 256, 256)


@pytest.fixture(scope="module")
def states() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Random weights under the names of the published files."""
    generator = torch.Generator().manual_seed(0)
    backbone = {}
    for key, value in ALEXNET.layers().state_dict().items():
        weight = torch.randn(value.shape, generator=generator)
        backbone[f"features.{key}"] = weight / (weight[0].numel() ** 0.5 if weight.ndim > 1 else 9)
    backbone["classifier.1.weight"] = torch.zeros(2, 2)
    linear = {
        f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator)
        for k, c in enumerate(WIDTHS)
    }
    return backbone, linear


@pytest.fixture(scope="module")
def files(states, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("lpips")
    save_file(states[0], folder / "alexnet.safetensors")
    torch.save(states[1], folder / "alex.pth")
    return folder / "alexnet.safetensors", folder / "alex.pth"


@pytest.fixture(scope="module")
def distance(files) -> Lpips:
    return Lpips.load(*files)


def pictures(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, count, 3, 35, 38, generator=generator)
    return a, b


def by_loops(states, a: torch.Tensor, b: torch.Tensor) -> float:
    """One pair: AlexNet written out, then every pixel and channel one by one."""
    backbone, linear = states

    def features(image: torch.Tensor) -> list[torch.Tensor]:
        mean, spread = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x = ((image * 2 - 1) - mean[:, None, None]) / spread[:, None, None]
        x, maps = x[None], []
        for index, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            if index in (3, 6):
                x = F.max_pool2d(x, 3, 2)
            weight, bias = (backbone[f"features.{index}.{name}"] for name in ("weight", "bias"))
            x = F.conv2d(x, weight, bias, stride, padding).clamp(min=0)
            maps.append(x[0])
        return maps

    total = 0.0
    for k, (f, g) in enumerate(zip(features(a), features(b), strict=True)):
        weight = linear[f"lin{k}.model.1.weight"].reshape(-1)
        _, rows, cols = f.shape
        for row in range(rows):
            for col in range(cols):
                u, v = f[:, row, col], g[:, row, col]
                u, v = u / (u.square().sum().sqrt() + 1e-10), v / (v.square().sum().sqrt() + 1e-10)
                total += float((weight * (u - v) ** 2).sum()) / (rows * cols)
    return total


def test_distance_against_loops(states, distance):
    a, b = pictures()
    expected = [by_loops(states, x, y) for x, y in zip(a, b, strict=True)]
    assert min(expected) > 0.01
    assert distance(a, b).tolist() == pytest.approx(expected, rel=1e-4)


def test_equal_images_are_no_distance_apart_and_order_does_not_matter(distance):
    a, b = pictures()
    assert distance(a, a).tolist() == [0.0, 0.0]
    torch.testing.assert_close(distance(a, b), distance(b, a))


def test_gradients(states):
    layers = ALEXNET.layers()
    given = {k.removeprefix("features."): v for k, v in states[0].items() if "features" in k}
    layers.load_state_dict(given, assign=True)
    linear = [weight.reshape(-1) for weight in states[1].values()]
    distance = Lpips(layers, ALEXNET.taps, linear).double()
    a, b = (x.double()[:1] for x in pictures())
    a.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: distance(x, b).sum(), a, fast_mode=True)
    assert not any(p.requires_grad for p in distance.parameters())


def test_pixels_without_features_have_a_gradient(states):
    """The square root of a sum of squares has none at 0."""
    dead = {
        k: -torch.ones_like(v) if k.endswith("0.bias") else 0 * v for k, v in states[0].items()
    }
    layers = ALEXNET.layers()
    layers.load_state_dict(
        {k.removeprefix("features."): v for k, v in dead.items() if "features" in k}, assign=True
    )
    distance = Lpips(layers, ALEXNET.taps, [w.reshape(-1) for w in states[1].values()])
    a, b = pictures()
    a.requires_grad_()
    distance(a, b).sum().backward()
    assert (a.grad == 0).all()


@pytest.mark.parametrize(("name", "classifier"), [("alexnet", ALEXNET), ("vgg16", VGG16)])
def test_layers_are_those_of_torchvision(name, classifier):
    ensure_torchvision()
    import torchvision

    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)().features
    ours = classifier.layers()
    for own, other in zip(ours, theirs, strict=False):
        assert type(own) is type(other)
        for field in ("in_channels", "out_channels", "kernel_size", "stride", "padding"):
            mine, its = (getattr(layer, field, None) for layer in (own, other))
            assert mine == its or (mine, mine) == its
    assert len(ours) == len(theirs) - 1  # without the last pooling
    assert all(isinstance(ours[tap], torch.nn.ReLU) for tap in classifier.taps)
    assert classifier.taps[-1] == len(ours) - 1


def test_taps_are_the_published_ones():
    assert ALEXNET.taps == (1, 4, 7, 9, 11)
    assert VGG16.taps == (3, 8, 15, 22, 29)


def test_files_of_something_else_are_refused(files, states, tmp_path):
    backbone, linear = files
    with pytest.raises(CheckpointError, match=r"cannot be read.*alexnet-owt"):
        Lpips.load(tmp_path / "none.pth", linear)
    with pytest.raises(CheckpointError, match="neither torchvision's AlexNet nor its VGG16"):
        Lpips.load(linear, linear)
    with pytest.raises(CheckpointError, match=r"lin0.*None.*PerceptualSimilarity"):
        Lpips.load(backbone, backbone)
    torch.save({k: -v for k, v in states[1].items()}, tmp_path / "below.pth")
    with pytest.raises(CheckpointError, match="below 0"):
        Lpips.load(backbone, tmp_path / "below.pth")
    torch.save({k: v[:, :3] for k, v in states[1].items()}, tmp_path / "narrow.pth")
    with pytest.raises(CheckpointError, match=r"\(1, 3, 1, 1\), expected \(1, 64, 1, 1\)"):
        Lpips.load(backbone, tmp_path / "narrow.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no table"):
        Lpips.load(backbone, tmp_path / "list.pth")
    torch.save(argparse.Namespace(), tmp_path / "object.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Lpips.load(tmp_path / "object.pth", linear)


def test_both_files_or_none():
    parser = argparse.ArgumentParser()
    add_lpips_arguments(parser)
    assert lpips_files(parser.parse_args([])) is None
    both = parser.parse_args(["--lpips-backbone", "a", "--lpips-linear", "b"])
    assert lpips_files(both) == (Path("a"), Path("b"))
    for word, other in (("--lpips-backbone", "linear"), ("--lpips-linear", "backbone")):
        with pytest.raises(ConfigError, match=f"--lpips-{other} is not given"):
            lpips_files(parser.parse_args([word, "a"]))


def test_training_has_a_term_more() -> None:
    """One made of a single layer, so that the small pictures have features."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    objective = Objective(views=1, points=64, lpips=Lpips(layers, (1,), [torch.ones(4)]))
    terms = {"lpips": torch.tensor(2.0), "rgb": torch.tensor(1.0)}
    assert float(objective.total(terms)) == pytest.approx(1.0 + 2.0 * LossWeights().lpips)
    trainer = make_trainer(objective)
    assert 0 < trainer.train_step([ground_glance()])["lpips"] < 4
    assert trainer.model.heads.rgb.weight.grad.any()


def test_evaluation_judges_by_the_mean_over_the_cameras(distance, make_rig) -> None:
    rig = make_rig((35, 64))
    predicted = rig.images.roll(1, dims=0).numpy()
    apart = picture_errors(predicted, rig, [0, 2], distance)[2]
    both = [distance(torch.from_numpy(predicted[[k]]), rig.images[[k]]).item() for k in (0, 2)]
    assert apart == pytest.approx(sum(both) / 2)
    assert picture_errors(rig.images.numpy(), rig, [1], distance)[2] == 0
    unknown = (picture_errors(predicted, rig, [0]), picture_errors(predicted, rig, [], distance))
    assert all(errors[2] != errors[2] for errors in unknown)
