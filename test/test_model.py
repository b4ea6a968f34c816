"""The whole network: missing cameras, empty skies, gradients, and the paper's size."""

import dataclasses

import pytest
import torch

from distillnerf_ros.cameras import CameraRig, Rays, camera_rays
from distillnerf_ros.config import (
    BackboneConfig,
    ModelConfig,
    base,
    preset,
    tiny,
    with_fields,
)
from distillnerf_ros.errors import ImageError
from distillnerf_ros.lift.lift import lift
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.query.occupancy import occupancy_density
from distillnerf_ros.render.renderer import DOUBTFUL_OPACITY, SURE_OPACITY, Rendered
from distillnerf_ros.voxels.field import VoxelField

PROBES = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(
    [20, 20, 2]
)


def build(config: ModelConfig, seed: int = 0) -> DistillNeRF:
    torch.manual_seed(seed)
    return DistillNeRF(config).eval()


@pytest.fixture(scope="module")
def model(small_config) -> DistillNeRF:
    return build(small_config).requires_grad_(False)


def assert_same_field(a: VoxelField, b: VoxelField, tolerance: float = 0.0) -> None:
    assert torch.equal(a.grid.coarse_cells, b.grid.coarse_cells)
    assert torch.equal(a.grid.fine_slots, b.grid.fine_slots)
    for name in ("slot_density", "fine_values", "coarse_values", "context"):
        got, expected = getattr(a, name), getattr(b, name)
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def assert_valid_views(rendered: Rendered, valid: torch.Tensor) -> None:
    assert ((rendered.rgb >= 0) & (rendered.rgb <= 1)).all()
    assert ((rendered.opacity >= 0) & (rendered.opacity <= 1 + 1e-5)).all()
    assert rendered.features.isfinite().all()
    assert rendered.depth_m[~valid].isnan().all()
    hit = rendered.depth_m.isfinite()
    assert (rendered.opacity[hit] >= SURE_OPACITY).all()
    assert (rendered.opacity[valid][~hit[valid]] < DOUBTFUL_OPACITY).all()
    assert ((rendered.depth_m[hit] > 0.5) & (rendered.depth_m[hit] < 120)).all()


def test_encoding_twice_gives_the_same_field(model, make_rig):
    assert_same_field(model.encode(make_rig()), model.encode(make_rig()))


def test_depth_of_own_pictures_joins_what_both_say_and_sky_is_less_than_a_fifth_opaque(
    model, make_rig
):
    rig = make_rig()
    coarse, _, _ = model.depth_stages(rig)
    field = model.encode(rig)
    assert torch.equal(field.visibility.depth_m.isinf(), coarse.opacity < 0.2)
    size = (model.config.render.ray_rows, model.config.render.ray_cols)
    depth = model.render_depth(field, rig, size)
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, size)
    result, _ = model.render_latent(field, rays, (len(rig.names), *size))
    pixels = field.visibility.pixels(rays)
    assert torch.equal(pixels, torch.arange(len(rays.origins)))  # as many as rays here
    told = field.told.at(pixels)
    assert torch.equal(told.depth_m, field.visibility.depth_m.reshape(-1))
    judged = depth.reshape(-1).isfinite() & told.depth_m.isfinite()
    assert judged.any()
    expected = model.depth_fusion(told, result)
    torch.testing.assert_close(depth.reshape(-1)[judged], expected[judged])
    elsewhere = field.visibility.pixels(Rays(rays.origins + 1.0, rays.directions))
    assert (elsewhere == -1).all()
    assert field.told.at(elsewhere).depth_m.isnan().all()


def test_another_picture_gives_another_field(model, make_rig):
    field, other = model.encode(make_rig(seed=0)), model.encode(make_rig(seed=1))
    assert not torch.equal(field.density(PROBES), other.density(PROBES))


@pytest.mark.parametrize("keep", [0b000001, 0b100000, 0b001010, 0b111011, 0b111111], ids=bin)
def test_any_subset_of_cameras_gives_a_valid_field(model, make_rig, keep):
    rig = make_rig()
    there = torch.tensor([bool(keep >> camera & 1) for camera in range(6)])
    field = model.encode(dataclasses.replace(rig, valid=there))
    assert len(field.visibility.depth_m) == int(there.sum())
    sample = field(PROBES)
    assert sample.density.isfinite().all()
    assert sample.features.isfinite().all()
    assert_valid_views(model.render(field, rig), rig.valid)


def test_no_camera_is_an_error(model, make_rig):
    rig = make_rig()
    with pytest.raises(ImageError, match="none of the cameras"):
        model.encode(rig.without(*rig.names))


def broken(rig: CameraRig, camera: int) -> CameraRig:
    """A camera that is missing and holds nothing but nonsense."""
    rig = rig.without(rig.names[camera])
    for matrix in (rig.images, rig.intrinsics, rig.ego_from_camera):
        matrix[camera] = torch.nan if camera % 2 else 0.0
    return rig


@pytest.mark.parametrize("camera", [2, 3])
def test_what_a_missing_camera_holds_reaches_nothing(model, make_rig, camera):
    rig = broken(make_rig(), camera)
    there = make_rig().without(rig.names[camera])
    field = model.encode(rig)
    assert_same_field(field, model.encode(there.present()))
    rendered, depth = model.render(field, rig), model.render_depth(field, rig, (16, 32))
    assert_valid_views(rendered, rig.valid)
    assert (rendered.opacity[camera] == 0).all()
    assert (rendered.rgb[camera] == 0).all()
    torch.testing.assert_close(depth, rendered.depth_m, equal_nan=True)
    others = model.render(field, there.present())
    torch.testing.assert_close(rendered.rgb[rig.valid], others.rgb)


def test_the_order_of_the_cameras_does_not_matter(model, make_rig):
    rig, order = make_rig(), torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = CameraRig(
        tuple(rig.names[i] for i in order.tolist()),
        rig.images[order],
        rig.intrinsics[order],
        rig.ego_from_camera[order],
        rig.valid,
    )
    assert_same_field(model.encode(shuffled), model.encode(rig), tolerance=1e-4)


def test_nothing_but_sky_is_an_empty_field(small_config, make_rig):
    """Zero voxels once could not be convolved."""
    blind = build(small_config)
    torch.nn.init.constant_(blind.coarse_depth.logits.bias, -1000.0)
    torch.nn.init.zeros_(blind.coarse_depth.logits.weight)
    field = blind.encode(make_rig())
    assert field.grid.coarse_count == field.grid.fine_count == 0
    assert (occupancy_density(field, torch.device("cpu")) == 0).all()
    rendered = blind.render(field, make_rig())
    assert rendered.depth_m.isnan().all()
    assert (rendered.opacity == 0).all()
    assert rendered.rgb.isfinite().all()
    assert field.visibility.depth_m.isinf().all()
    rendered.rgb.sum().backward()
    assert blind.heads.sky[0].weight.grad.isfinite().all()


def test_ceilings_bound_the_field(small_config, make_rig):
    limits = dataclasses.replace(small_config.grid, max_coarse_voxels=50, max_fine_voxels=200)
    field = build(dataclasses.replace(small_config, grid=limits)).encode(make_rig())
    assert (field.grid.coarse_count, field.grid.fine_count) == (50, 200)
    assert field.grid.dropped_points > 0
    assert field.density(PROBES).isfinite().all()


def test_depth_alone_is_the_depth_of_the_picture(model, make_rig):
    rig = make_rig()
    field = model.encode(rig)
    depth = model.render_depth(field, rig, (16, 32))
    torch.testing.assert_close(depth, model.render(field, rig).depth_m, equal_nan=True)


def test_views_are_rendered_one_by_one(model, make_rig):
    rig = make_rig()
    field = model.encode(rig)
    alone = model.render(field, rig.without(*rig.names[1:]).present())
    torch.testing.assert_close(model.render(field, rig).rgb[:1], alone.rgb, atol=1e-5, rtol=1e-5)


def step(model: DistillNeRF, rig: CameraRig) -> tuple[VoxelField, Rendered]:
    """A forward pass and the backward pass of a loss over everything that a field is asked for."""
    coarse, fine, context = model.depth_stages(rig)
    field = model.fuse(rig, coarse, fine, context)
    rendered = model.render(field, rig)
    hit = rendered.depth_m.isfinite()
    terms = [
        coarse.depth_m.log(),
        rendered.depth_m[hit].log(),
        rendered.rgb,
        rendered.features,
        rendered.opacity,
        field.density(PROBES),
        field.slot_density,  # a few rays may miss every fine voxel
        model.feature_fusion(field, PROBES),
    ]
    terms += [] if field.block_logit is None else [field.block_logit]
    torch.stack([term.mean() for term in terms]).sum().backward()
    return field, rendered


def assert_learning(model: DistillNeRF) -> None:
    silent = [name for name, p in model.named_parameters() if p.grad is None]
    assert silent == []
    broken = [name for name, p in model.named_parameters() if not p.grad.isfinite().all()]
    assert broken == []
    still = [name for name, p in model.named_parameters() if not p.grad.any()]
    assert still == []


def shrunk(config: ModelConfig, size: tuple[int, int]) -> ModelConfig:
    """The same network on small images."""
    sides = {"image_height_px": size[0], "image_width_px": size[1]}
    backbone = dataclasses.asdict(config.backbone) | sides
    rays = [side // config.render.decoder_scale for side in size]
    render = dataclasses.replace(config.render, ray_rows=rays[0], ray_cols=rays[1])
    return dataclasses.replace(config, backbone=BackboneConfig(**backbone), render=render)


def test_every_parameter_of_tiny_learns(make_rig):
    model = build(shrunk(tiny(), (32, 64))).train()
    # Zero at first, so that nothing behind them would learn in the first step.
    torch.nn.init.normal_(model.voxel_net.birds_eye.widen.weight, std=0.1)
    torch.nn.init.normal_(model.backbone.cross_view.out[1].weight, std=0.1)
    torch.nn.init.normal_(model.depth_fusion.factor.weight, std=0.1)
    torch.nn.init.normal_(model.feature_fusion.net[-1].weight, std=0.1)
    _, rendered = step(model, make_rig(count=3))
    assert rendered.depth_m.isfinite().any()
    assert_learning(model)


@pytest.mark.parametrize(
    "switch",
    [
        ["fine_depth.candidates=1"],
        ["voxels.complement=false", "voxels.completion=false"],
        ["render.decoder=false"],
        ["render.paint=false"],
        ["grid.linear=true"],
        ["voxels.birds_eye_channels=0"],
        ['backbone.encoder="resnet10t"'],
    ],
)
def test_each_component_can_be_switched(switch, make_rig):
    """The rows of an ablation are configurations, not other code."""
    model = build(with_fields(shrunk(tiny(), (32, 64)), switch)).train()
    field, rendered = step(model, make_rig(count=2))
    assert field.grid.coarse_count > 0
    assert rendered.rgb.shape == (2, 3, 32, 64)
    broken = [
        n for n, p in model.named_parameters() if p.grad is not None and p.grad.isnan().any()
    ]
    assert broken == []


def test_the_glance_is_painted_on_what_it_shows(make_rig):
    """A camera of the glance finds a colour in every pixel, another one where those looked."""
    model = build(shrunk(tiny(), (32, 64)))
    rig = make_rig((32, 64), count=2)
    color = torch.tensor([0.2, 0.5, 0.8])[:, None, None]
    rig = dataclasses.replace(rig, images=color.expand_as(rig.images).contiguous())
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, (16, 32))
    with torch.no_grad():
        field = model.encode(rig)
        seen = model.surface(field, rig, model.render_latent(field, rays, (2, 16, 32))[0])
        turned = rig.ego_from_camera @ torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
        behind = dataclasses.replace(rig, ego_from_camera=turned)
        rays = camera_rays(rig.intrinsics, turned, rig.image_size, (16, 32))
        result = model.render_latent(field, rays, (2, 16, 32))[0]
        unseen = model.surface(field, behind, result)
    assert seen[:, 3].mean() > 0.98
    assert unseen[:, 3].mean() < 0.9
    for maps in (seen, unseen):
        wanted = color * maps[:, 3:]
        torch.testing.assert_close(maps[:, :3], wanted, atol=1e-3, rtol=0)


def test_without_contraction_space_ends(make_rig):
    model = build(with_fields(shrunk(tiny(), (32, 64)), ["grid.linear=true"]))
    with torch.no_grad():
        field = model.encode(make_rig())
    beyond = torch.tensor([[52.0, 0.0, 0.0], [500.0, 3.0, 1.0], [0.0, -51.5, 0.0], [0, 0, 9.0]])
    assert not field.grid.holds(beyond).any()
    assert (field.density(beyond) == 0).all()
    size = torch.tensor(field.grid.layout.fine_cell_size_m())
    torch.testing.assert_close(size, torch.tensor([0.32, 0.32, 0.16]))


@pytest.mark.parametrize(("name", "size"), [("base-linear", (16, 32)), ("large", (32, 64))])
def test_other_presets_build_and_see(name, size, make_rig):
    config = preset(name)
    coarse = dataclasses.replace(config.coarse_depth, inner_bins=20, outer_bins=4)
    fine = dataclasses.replace(config.fine_depth, candidates=3)
    render = dataclasses.replace(config.render, coarse_samples=32)
    config = dataclasses.replace(config, coarse_depth=coarse, fine_depth=fine, render=render)
    model = build(shrunk(config, size))
    with torch.no_grad():
        rig = make_rig(size, count=2)
        assert model.render(model.encode(rig), rig).rgb.shape == (2, 3, *size)


def test_base_runs_forward_and_backward(make_rig):
    config = base()
    coarse = dataclasses.replace(config.coarse_depth, inner_bins=40, outer_bins=8)
    fine = dataclasses.replace(config.fine_depth, candidates=3)
    render = dataclasses.replace(config.render, coarse_samples=64)
    config = dataclasses.replace(config, coarse_depth=coarse, fine_depth=fine, render=render)
    model = build(shrunk(config, (16, 32))).train()
    torch.nn.init.normal_(model.depth_fusion.factor.weight, std=0.1)  # zero at first
    torch.nn.init.normal_(model.feature_fusion.net[-1].weight, std=0.1)  # so is this
    field, rendered = step(model, make_rig((16, 32), count=2))
    assert field.grid.fine_count > 0
    assert rendered.rgb.shape == (2, 3, 16, 32)
    assert_learning(model)


def test_voxels_hold_the_mean_of_what_their_points_carry(model, make_rig):
    """Features by probability, and the density's logit, which is linear in it (paper eq. 1)."""
    rig = make_rig()
    coarse, fine, _ = model.depth_stages(rig)
    points = lift(rig, coarse, fine, model.config.fine_depth.min_opacity)
    grid, pooled, _ = model.splat(points)
    slots = grid.slots(*grid.layout.locate(points.points_m))
    rows = grid.fine_rows(slots)
    split, candidates = model.config.voxels.fine_channels, fine.depth_m.shape[-1]
    for row in (0, grid.fine_count // 2, grid.fine_count - 1):
        mine = ((rows == row) & points.keep).nonzero()[:, 0]
        p = points.probability[mine]
        carried = p[:, None] * points.features[mine // candidates, :split]
        expected = torch.cat([carried.mean(0), (10 * (2 * p - 1)).mean()[None]])
        torch.testing.assert_close(pooled[row], expected, rtol=1e-4, atol=1e-4)
