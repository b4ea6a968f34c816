"""The trainer: resuming, stopping on bad losses, order of samples."""

import dataclasses

import pytest
import torch

from distillnerf_ros.config import tiny
from distillnerf_ros.errors import TrainingError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.objective import IMAGE_TERMS, LossWeights, Objective
from distillnerf_ros.training.samples import TrainSample, View
from distillnerf_ros.training.schedule import Schedule
from distillnerf_ros.training.surface import voxel_labels
from distillnerf_ros.training.trainer import Trainer


def small_config():
    """A network that steps in a blink."""
    full = tiny()
    return dataclasses.replace(
        full,
        backbone=dataclasses.replace(
            full.backbone,
            image_height_px=32,
            image_width_px=64,
            channels=(8, 32, 16),
            blocks=(1, 1, 1),
            feature_channels=8,
        ),
        coarse_depth=dataclasses.replace(full.coarse_depth, inner_bins=12, outer_bins=4),
        fine_depth=dataclasses.replace(full.fine_depth, candidates=3, hidden_channels=8),
        render=dataclasses.replace(
            full.render,
            ray_rows=16,
            ray_cols=32,
            coarse_samples=24,
            fine_samples=8,
            decoder_channels=8,
            decoder_layers=1,
        ),
        features=dataclasses.replace(full.features, channels=4),
    )


def ground_glance() -> TrainSample:
    """Two cameras over flat ground, forwards and backwards."""
    from distillnerf_ros.cameras import CameraRig, camera_rays

    poses = torch.eye(4).repeat(2, 1, 1)
    poses[0, :3, :3] = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    poses[1, :3, :3] = torch.tensor([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    poses[:, 2, 3] = 1.5
    k = torch.tensor([[40.0, 0.0, 32.0], [0.0, 40.0, 12.0], [0.0, 0.0, 1.0]]).repeat(2, 1, 1)
    images = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    rig = CameraRig(("A", "B"), images, k, poses, torch.ones(2, dtype=torch.bool))
    rays = camera_rays(k, poses, (32, 64), (32, 64))
    depth = (-1.5 / rays.directions[:, 2]).reshape(2, 32, 64)
    depth = torch.where((depth > 0) & (depth < 100), depth, torch.inf)
    angle = torch.linspace(0, 6.28, 400)
    points = torch.stack([8 * angle.cos(), 8 * angle.sin(), 0 * angle], dim=1)
    lidar = torch.tensor([0.0, 0.0, 1.8])
    return TrainSample("ground", rig, depth, lidar, points, voxel_labels(rig, depth))


CPU = torch.device("cpu")


def make_trainer(objective: Objective | None = None, device: torch.device = CPU) -> Trainer:
    torch.manual_seed(0)
    schedule = Schedule(steps=8, warmup_steps=2, drop_camera=0.5)
    objective = objective or Objective(views=1, points=64)
    return Trainer(DistillNeRF(small_config()), objective, schedule, device)


def test_resumed_training_equals_uninterrupted_training_to_the_bit(tmp_path) -> None:
    sample = ground_glance()
    whole = make_trainer()
    for _ in range(4):
        whole.train_step([sample])
    first = make_trainer()
    for _ in range(2):
        first.train_step([sample])
    first.save_state(tmp_path / "state.safetensors")
    second = make_trainer()
    second.load_state(tmp_path / "state.safetensors")
    for _ in range(2):
        second.train_step([sample])
    assert second.step == 4
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
    for key, value in whole.average.items():
        assert torch.equal(value, second.average[key]), key


def test_a_training_goes_on_on_another_device(tmp_path, gpu) -> None:
    sample, state = ground_glance(), tmp_path / "state.safetensors"
    first = make_trainer()
    first.train_step([sample])
    first.save_state(state)
    there = make_trainer(device=gpu)
    there.load_state(state)
    expected, got = first.train_step([sample]), there.train_step([sample])
    assert got == pytest.approx(expected, rel=1e-3, abs=1e-6)
    here, moved = (
        {n: t.optimizer.state[p] for n, p in t.model.named_parameters() if t.optimizer.state[p]}
        for t in (first, there)
    )
    for name in here.keys() | moved.keys():
        momentum = moved[name]["exp_avg"]
        assert momentum.device == gpu
        expected = here[name]["exp_avg"]
        assert (momentum.cpu() - expected).norm() <= 1e-3 * expected.norm() + 1e-7, name


def test_every_parameter_learns_from_the_full_objective(device) -> None:
    pca = Pca(torch.zeros(6), torch.eye(6)[:4], torch.ones(4), 1.0)

    texts = torch.eye(6).repeat(4, 1)
    semantics = Semantics("none", pca, texts[:17], texts[17:21]).to(device)
    sample = ground_glance()
    features = torch.nn.functional.adaptive_avg_pool2d(sample.rig.images, (4, 8))
    features = torch.cat([features, features[:, :1]], dim=1)
    virtual = (View(sample.rig, sample.depth_m),)
    trainer = make_trainer(Objective(semantics=semantics, views=2, points=64), device)
    terms = trainer.train_step([dataclasses.replace(sample, features=features, virtual=virtual)])
    every = {field.name for field in dataclasses.fields(LossWeights)}
    assert set(terms) == every - {"lpips"}  # whose files are not at hand
    for name, parameter in trainer.model.named_parameters():
        if name != "heads.rgb.bias":
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_features_of_a_teacher_without_texts_are_trained_by_their_likeness_alone() -> None:
    pca = Pca(torch.zeros(6), torch.eye(6)[:4], torch.ones(4), 1.0)
    sample = ground_glance()
    features = torch.rand(2, 4, 4, 8)
    trainer = make_trainer(Objective(semantics=Semantics.without_texts("eyes", pca), points=64))
    terms = trainer.train_step([dataclasses.replace(sample, features=features)])
    assert terms["relevancy"] == terms["lifted_relevancy"] == 0
    assert min(terms["features"], terms["point_features"], terms["lifted_features"]) > 0
    head = trainer.model.heads.features
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


def test_a_loss_that_is_not_a_number_stops_with_step_and_term() -> None:
    trainer = make_trainer()
    sample = ground_glance()
    broken = dataclasses.replace(sample.rig, images=sample.rig.images * torch.nan)
    with pytest.raises(TrainingError, match=r"step 0.*rgb.*ground"):
        trainer.train_step([dataclasses.replace(sample, rig=broken)])


def test_a_gradient_that_is_not_a_number_stops_before_the_step() -> None:
    trainer = make_trainer()
    before = {k: v.clone() for k, v in trainer.model.named_parameters()}
    weight = next(trainer.model.parameters())
    weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(TrainingError, match="gradient is not finite at step 0"):
        trainer.train_step([ground_glance()])
    for name, value in trainer.model.named_parameters():
        assert torch.equal(value, before[name])


def test_loss_falls_on_one_glance() -> None:
    trainer = make_trainer()
    trainer.schedule = Schedule(steps=40, warmup_steps=2, learning_rate=3e-3, drop_camera=0.0)
    history = [trainer.train_step([ground_glance()])["coarse_depth"] for _ in range(15)]
    assert sum(history[-5:]) < 0.8 * sum(history[:5])


def test_a_batch_steps_along_the_mean_gradient_of_its_glances() -> None:
    """BatchNorm's running statistics are the mean over the batch, in whatever order it comes."""
    first, second = ground_glance(), ground_glance()
    second = dataclasses.replace(
        second, rig=dataclasses.replace(second.rig, images=1 - second.rig.images)
    )
    trainers = [make_trainer(), make_trainer()]
    for trainer, batch in zip(trainers, ([first, second], [second, first]), strict=True):
        trainer.schedule = dataclasses.replace(trainer.schedule, augment=False)
        trainer.objective = Objective(LossWeights(occupancy=0.0, lidar_occupancy=0.0), views=2)
        trainer.train_step(batch)
    one, other = (trainer.model.state_dict() for trainer in trainers)
    for key in one:
        if "running" in key:
            torch.testing.assert_close(one[key], other[key], rtol=1e-4, atol=1e-6)


def test_image_glances_count_for_the_image_network_alone() -> None:
    """The step is the mean over all glances of the image terms, and over the whole ones of all."""
    terms = []
    for image_share in ([], [ground_glance()]):
        trainer = make_trainer()
        trainer.schedule = dataclasses.replace(trainer.schedule, augment=False)
        terms.append(trainer.train_step([ground_glance()], image_share))
    for key in terms[0]:
        assert terms[1][key] == pytest.approx(terms[0][key], rel=1e-5), key
    trainer = make_trainer(Objective(LossWeights(**dict.fromkeys(IMAGE_TERMS, 0.0)), views=1))
    trainer.train_step([], [ground_glance()])
    assert all(not p.grad.any() for p in trainer.model.parameters() if p.grad is not None)
    assert trainer.model.decoder.out.weight.grad is None


def test_state_of_another_model_is_refused(tmp_path) -> None:
    make_trainer().save_state(tmp_path / "state.safetensors")
    other = small_config()
    other = dataclasses.replace(other, features=dataclasses.replace(other.features, channels=5))
    trainer = Trainer(DistillNeRF(other), Objective(), Schedule(steps=8), torch.device("cpu"))
    with pytest.raises(TrainingError, match="same preset"):
        trainer.load_state(tmp_path / "state.safetensors")


def test_bfloat16_keeps_geometry_and_says_nearly_the_same() -> None:
    trainer, chance = make_trainer(), torch.Generator()
    terms = []
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            sample = ground_glance()
            terms.append(trainer.objective(trainer.model, sample, chance.manual_seed(0)))
    assert all(value.dtype == torch.float32 for value in terms[1].values())
    # What hangs on which voxel a point falls into may jump; the others may not.
    for key in ("coarse_bins", "coarse_depth", "candidates", "rgb"):
        assert terms[1][key].item() == pytest.approx(terms[0][key].item(), rel=0.1), key
    assert all(value.isfinite() for value in terms[1].values())
