"""The pipeline: shapes of the answers, nothing hit, and refusals."""

import dataclasses

import pytest
import torch

from distillnerf_ros import pipeline as module
from distillnerf_ros.checkpoint import Checkpoint, save_checkpoint
from distillnerf_ros.config import tiny
from distillnerf_ros.errors import CheckpointError, ConfigError, ImageError, QueryError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.edit import moved
from distillnerf_ros.query.region import find_things
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.taxonomy import FREE_LABEL
from distillnerf_ros.teachers.open_clip import TextTower
from distillnerf_ros.teachers.pca import Pca

WIDTH = 7
CPU = torch.device("cpu")


def letters_tower(texts) -> torch.Tensor:
    """A direction that depends on the text alone."""
    seeds = [sum(map(ord, text)) for text in texts]
    draws = [torch.randn(WIDTH, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return torch.nn.functional.normalize(torch.stack(draws), dim=-1)


@pytest.fixture(scope="module")
def network(small_config) -> DistillNeRF:
    """Random, but dense enough everywhere to be hit."""
    torch.manual_seed(0)
    model = DistillNeRF(small_config)
    torch.nn.init.constant_(model.voxel_net.completion.bias, 8.0)
    return model


@pytest.fixture(scope="module")
def pipeline(network) -> Pipeline:
    basis = torch.linalg.qr(torch.randn(WIDTH, 5, generator=torch.Generator().manual_seed(1)))[0]
    pca = Pca(torch.zeros(WIDTH), basis.T.contiguous(), torch.ones(5), 1.0)
    semantics = Semantics.of("made-up", pca, letters_tower)
    made = Pipeline(Checkpoint(network, semantics), CPU)
    made.__dict__["_tower"] = letters_tower  # stands in for OpenCLIP
    return made


@pytest.fixture(scope="module")
def bare(network) -> Pipeline:
    return Pipeline(Checkpoint(network, None), CPU)


@pytest.fixture(scope="module")
def rig(make_rig):
    return make_rig((64, 128))


@pytest.fixture(scope="module")
def field(pipeline, rig):
    return pipeline.encode(rig)


def test_bfloat16_where_the_cpu_multiplies_it_says_nearly_the_same(network, rig, monkeypatch):
    depth = {}
    for able in (False, True):
        can = {"avx512_bf16": able}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda can=can: can, raising=False)
        field = Pipeline(Checkpoint(network, None), CPU).encode(rig)
        assert field.slot_density.dtype == field.fine_values.dtype == torch.float32
        depth[able] = field.visibility.depth_m
    assert not torch.equal(depth[True], depth[False])
    apart = (depth[True] / depth[False]).nan_to_num(1.0, 1.0, 1.0).log().abs()
    assert apart.median() < 0.01


def test_another_device_says_the_same(network, pipeline, rig, gpu, monkeypatch):
    """There tables are sized by their ceilings, nothing is multiplied in bfloat16."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    there = Pipeline(Checkpoint(network, pipeline.semantics), gpu)
    here = Pipeline(Checkpoint(network, pipeline.semantics), CPU)
    answers = []
    for asked in (here, there):
        asked.__dict__["_tower"] = letters_tower
        field = asked.encode(rig)
        rendered, occupancy = asked.render(field, rig), asked.occupancy(field)
        patch = asked.features_at_pixels(field, rig, 1, (10.0, 40.0, 60.0, 64.0))
        like = asked.query_features(field, patch[None], ["patch"], 0.5)
        hits = asked.query_text(field, ["a car"], threshold=0.2)
        heat = asked.relevancy_image(rendered, ["a car"])
        points_m = occupancy.points_m()[::10]
        (thing, *_) = find_things(points_m, torch.ones_like(points_m[:, 0]), 0.5, 0.8)
        sample = moved(field, thing.region, torch.eye(4))(points_m)
        views = (rendered.rgb, rendered.depth_m, rendered.features, heat)
        grids = (occupancy.probability, occupancy.labels, occupancy.observed)
        found = (patch, like.points_m, like.scores, hits.points_m, hits.scores)
        answers.append((*views, *grids, *found, sample.density, sample.rgb, sample.features))
    assert answers[1][0].device == answers[1][-1].device == gpu
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(other.cpu(), one, equal_nan=True)


def test_sizes(pipeline, field, rig):
    assert pipeline.image_size == (32, 64)
    assert pipeline.depth_size == (16, 32)
    rendered = pipeline.render(field, rig)
    assert rendered.rgb.shape == (6, 3, 32, 64)
    assert rendered.depth_m.shape == rendered.opacity.shape == (6, 16, 32)
    assert rendered.features.shape == (6, 5, 16, 32)
    depth = pipeline.depth(field, rig)
    torch.testing.assert_close(depth, rendered.depth_m, equal_nan=True)
    assert depth.dtype == torch.float32


def test_pictures_of_any_size_are_resampled(pipeline, rig, field):
    small = pipeline.encode(rig.resized(*pipeline.image_size))
    assert torch.equal(small.slot_density, field.slot_density)


def test_nothing_hit_is_nan(pipeline, field, rig):
    nothing = dataclasses.replace(field, slot_density=torch.zeros_like(field.slot_density))
    assert pipeline.depth(nothing, rig).isnan().all()
    rendered = pipeline.render(nothing, rig)
    assert pipeline.relevancy_image(rendered, ["bus"]).isnan().all()
    with pytest.raises(QueryError, match="nothing is hit"):
        pipeline.features_at_pixels(nothing, rig, 0, (0.0, 0.0, 128.0, 64.0))
    assert not pipeline.occupancy(nothing).occupied.any()
    assert len(pipeline.query_text(nothing, ["bus"]).points_m) == 0


def test_a_missing_camera_is_nan_and_the_others_are_not(pipeline, rig):
    five = rig.without("CAM_BACK")
    depth = pipeline.depth(pipeline.encode(five), five)
    assert depth[3].isnan().all()
    assert depth[five.valid].isfinite().any()


@pytest.mark.parametrize("change", [lambda x: x * 255 + 2, lambda x: x * float("nan")])
def test_images_that_are_not_from_0_to_1_are_refused(pipeline, rig, change):
    wrong = dataclasses.replace(rig, images=change(rig.images))
    with pytest.raises(ImageError, match="expected 0 to 1 and no NaN: divide bytes by 255"):
        pipeline.encode(wrong)


def test_no_camera_is_an_error(pipeline, rig):
    with pytest.raises(ImageError, match="none of the cameras"):
        pipeline.encode(rig.without(*rig.names))


def test_occupancy_with_labels(pipeline, field):
    occupancy = pipeline.occupancy(field)
    assert occupancy.probability.shape == occupancy.observed.shape == (200, 200, 16)
    assert ((occupancy.probability >= 0) & (occupancy.probability <= 1)).all()
    assert occupancy.occupied.any()
    assert occupancy.observed.any()
    assert (occupancy.labels[occupancy.occupied] < FREE_LABEL).all()
    assert (occupancy.labels[~occupancy.occupied] == FREE_LABEL).all()


def test_text_query(pipeline, field):
    hits = pipeline.query_text(field, ["bus", "bench"], threshold=0.5)
    assert hits.prompts == ("bus", "bench")
    count = len(hits.points_m)
    assert hits.scores.shape == (count, 2)
    assert hits.probability.shape == (count,)
    assert ((hits.scores >= 0) & (hits.scores <= 1)).all()
    assert (hits.scores.amax(-1) >= 0.5).all()
    everything = pipeline.query_text(field, ["bus"], threshold=0.0)
    assert len(everything.points_m) == int(pipeline.occupancy(field).occupied.sum())
    assert len(pipeline.query_text(field, ["bus"], threshold=1.0).points_m) == 0


def test_relevancy_image(pipeline, field, rig):
    rendered = pipeline.render(field, rig)
    heat = pipeline.relevancy_image(rendered, ["bus"], negatives=["thing"])
    assert heat.shape == (6, 16, 32)
    assert torch.equal(heat.isnan(), rendered.depth_m.isnan())
    known = heat[heat.isfinite()]
    assert len(known)
    assert ((known >= 0) & (known <= 1)).all()
    both = pipeline.relevancy_image(rendered, ["bus", "bench"], negatives=["thing"])
    assert (both >= heat)[heat.isfinite()].all()


def test_what_is_found_must_stand_out_and_what_is_drawn_need_not(pipeline, network, field, rig):
    semantics = dataclasses.replace(pipeline.semantics, caution=torch.full((17,), 1.5))
    wary = Pipeline(Checkpoint(network, semantics), CPU)
    wary.__dict__["_tower"] = letters_tower
    calm, cautious = (p.query_text(field, ["bus"], threshold=0.0) for p in (pipeline, wary))
    torch.testing.assert_close(cautious.scores.logit(), calm.scores.logit() - 1.5)
    rendered = pipeline.render(field, rig)
    heat = [p.relevancy_image(rendered, ["bus"]).nan_to_num() for p in (pipeline, wary)]
    assert heat[0].any()
    assert torch.equal(*heat)


def test_each_class_is_occupied_from_its_own_probability(pipeline, network, field):
    def occupancy_from(enough):
        semantics = dataclasses.replace(pipeline.semantics, occupied_from=enough)
        return Pipeline(Checkpoint(network, semantics), CPU).occupancy(field)

    thin = 2 * torch.rand(field.slot_density.shape, generator=torch.Generator().manual_seed(0))
    field = dataclasses.replace(field, slot_density=thin * (field.slot_density > 0))
    every = occupancy_from(torch.full((17,), 0.05))
    enough = torch.linspace(0.1, 0.9, 17)
    chosen = occupancy_from(enough)
    named = every.labels.clamp(max=16).long()
    kept = (every.labels != 17) & (every.probability >= enough[named])
    assert 0 < kept.sum() < (every.labels != 17).sum()
    assert torch.equal(chosen.labels, torch.where(kept, every.labels, 17))


@pytest.mark.parametrize("prompts", [[], [""], ["bus", "  "]])
def test_empty_prompts_are_refused(pipeline, field, prompts):
    with pytest.raises(QueryError, match="none empty"):
        pipeline.query_text(field, prompts)


def test_a_patch_finds_itself(pipeline, field, rig):
    query = pipeline.features_at_pixels(field, rig, 0, (0.0, 0.0, 128.0, 64.0))
    rendered = pipeline.render(field, rig)
    hit = rendered.depth_m[0].isfinite()
    torch.testing.assert_close(query, rendered.features[0][:, hit].mean(dim=1))
    hits = pipeline.query_features(field, query[None], ["this"], threshold=0.0)
    assert hits.prompts == ("this",)
    assert ((hits.scores >= 0) & (hits.scores <= 1 + 1e-5)).all()


def test_a_patch_of_one_pixel_is_one_ray(pipeline, field, rig):
    rendered = pipeline.render(field, rig)
    row, col = rendered.depth_m[2].isfinite().nonzero()[0].tolist()
    u, v = 4 * col + 1.0, 4 * row + 1.0
    query = pipeline.features_at_pixels(field, rig, 2, (u, v, u + 1, v + 1))
    torch.testing.assert_close(query, rendered.features[2, :, row, col])


@pytest.mark.parametrize(
    ("camera", "box", "reason"),
    [
        (0, (5, 5, 5, 9), "is not inside the 128x64 image"),
        (0, (-1, 0, 9, 9), "is not inside"),
        (0, (0, 0, 129, 9), "is not inside"),
        (6, (0, 0, 9, 9), r"camera 6 asked for, expected 0\.\.5"),
        (-1, (0, 0, 9, 9), "camera -1"),
    ],
)
def test_patches_outside_are_refused(pipeline, field, rig, camera, box, reason):
    with pytest.raises(QueryError, match=reason):
        pipeline.features_at_pixels(field, rig, camera, tuple(map(float, box)))


def test_weights_without_features_answer_geometry_and_refuse_text(bare, rig):
    field = bare.encode(rig)
    occupancy = bare.occupancy(field)
    assert occupancy.labels is None
    assert occupancy.occupied.any()
    with pytest.raises(QueryError, match="carry no features"):
        bare.query_text(field, ["bus"])


def test_inference_freezes_and_leaves_no_graph(pipeline, field):
    assert not any(p.requires_grad for p in pipeline.model.parameters())
    assert not pipeline.model.training
    assert not field.slot_density.requires_grad


def test_load_reads_what_was_saved(tmp_path, network, pipeline, rig, field):
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, network, pipeline.semantics)
    again = Pipeline.load(str(path), device="cpu")
    torch.testing.assert_close(again.encode(rig).slot_density, field.slot_density)
    assert again.semantics.clip == "made-up"


def test_features_without_texts_can_be_asked_with_features_alone(network, pipeline, rig, field):
    pca = pipeline.semantics.pca
    wordless = Pipeline(Checkpoint(network, Semantics.without_texts("eyes", pca)), CPU)
    assert wordless.occupancy(field).labels is None
    with pytest.raises(QueryError, match="'eyes', which knows no texts; ask with a patch"):
        wordless.query_text(field, ["a bus"])
    query = torch.randn(1, 5)
    hits = wordless.query_features(field, query, ["this"], 0.0)
    expected = pipeline.query_features(field, query, ["this"], 0.0)
    torch.testing.assert_close(hits.points_m, expected.points_m)
    torch.testing.assert_close(hits.scores, expected.scores)


def test_unknown_weights_and_devices_are_refused(tmp_path, network):
    with pytest.raises(CheckpointError, match="neither a file nor shipped"):
        Pipeline.load("no-such-weights", device="cpu")
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, network, None)
    with pytest.raises(ConfigError, match="device 'abacus'"):
        Pipeline.load(str(path), device="abacus")


def test_untrained_is_seeded_and_leaves_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (Pipeline.untrained("tiny", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [p.model.heads.rgb.weight for p in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_folded_batchnorm_changes_nothing(make_rig) -> None:
    torch.manual_seed(0)
    model = DistillNeRF(tiny())
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, std=0.2)
            layer.running_mean.normal_(std=0.2)
            layer.running_var.uniform_(0.5, 2.0)
    rig = make_rig((128, 224), count=1)
    with torch.inference_mode():
        expected, _ = model.eval().backbone(rig)
        pipeline = Pipeline(Checkpoint(model, None), torch.device("cpu"))
        features, _ = pipeline.model.backbone(rig)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in pipeline.model.modules())
    torch.testing.assert_close(features, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (lambda texts: -letters_tower(texts), r"'made-up' names here .* cosine of -1\.000"),
        (lambda texts: letters_tower(texts)[:, :3], "vectors of 3 numbers, not 7"),
        (letters_tower, None),
    ],
)
def test_another_text_tower_under_the_teachers_name_is_refused(
    network, pipeline, monkeypatch, said, message
):
    """A file of weights was exchanged after the field was distilled."""

    class Tower(TextTower):
        def __init__(self, clip):
            pass

        def __call__(self, prompts):
            return said(prompts)

    monkeypatch.setattr(module, "TextTower", Tower)
    taught = Pipeline(Checkpoint(network, pipeline.semantics), CPU)
    if message is None:
        assert taught.embed(["a bus"]).shape == (1, WIDTH)
    else:
        with pytest.raises(CheckpointError, match=message):
            taught.embed(["a bus"])
