"""Fitting goes down, goes on to the bit, and refuses what is not its own."""

import dataclasses
import errno

import pytest
import torch

from distillnerf_ros.errors import CheckpointError, SceneError
from distillnerf_ros.scene import fitter as module
from distillnerf_ros.scene.features import LogFeatures
from distillnerf_ros.scene.fitter import Fitter, config_of
from distillnerf_ros.scene.state import load_field, read_tensors, write_tensors

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch):
    monkeypatch.setattr(module, "WARM_UP_STEPS", 2)
    monkeypatch.setattr(module, "_REFRESH_POINTS", 64)
    monkeypatch.setattr(module, "_REFRESH_EVERY", 4)


@pytest.fixture
def make(scene_log, scene_config, fit_settings):
    return lambda device=CPU: Fitter(scene_log, scene_config, fit_settings, device)


def test_a_fit_goes_on_to_the_bit(make, tmp_path, device):
    whole = make(device)
    for step in range(9):
        whole.take_step(step / 20)
    half = make(device)
    for step in range(5):
        half.take_step(step / 20)
    half.save(tmp_path / "state")
    torch.manual_seed(99)
    later = make(device)
    later.restore(tmp_path / "state")
    assert later.step == 5
    for step in range(5, 9):
        later.take_step(step / 20)
    for (name, a), b in zip(
        whole.field.state_dict().items(), later.field.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


def test_terms_go_down(make):
    fitter = make()
    terms = [fitter.take_step(0.0) for _ in range(24)]
    assert set(terms[2]) >= {"rgb", "depth", "sight", "separation", "transience", "half"}
    assert sum(t["sight"] for t in terms[-5:]) < sum(t["sight"] for t in terms[2:7])
    assert sum(t["rgb"] for t in terms[-5:]) < sum(t["rgb"] for t in terms[2:7])


def test_without_lidar_colour_alone_is_fitted(scene_log, scene_config, fit_settings):
    log = dataclasses.replace(scene_log, sweeps=None)
    fitter = Fitter(log, scene_config, fit_settings, CPU)
    assert fitter.field.proposals.candidate[:-1].all()
    assert set(fitter.take_step(0.0)) == {"rgb", "transience", "half", "clearness", "ground"}


def test_cameras_that_share_no_view_are_fitted_to_colour_alone(
    scene_log, scene_config, fit_settings
):
    # Half of what a camera sees is arctan(8 / 12) = 34 degrees; they look back to back.
    ahead = scene_log.scene_from_camera[:2, :3, 2]
    assert torch.rad2deg((ahead[0] @ ahead[1]).acos()) > 2 * 34
    log = dataclasses.replace(scene_log, sweeps=None)
    fitter = Fitter(log, scene_config, fit_settings, CPU)
    colour = [fitter.take_step(0.0)["rgb"] for _ in range(16)]
    assert sum(colour[-4:]) < sum(colour[:4])
    assert all(value.isfinite().all() for value in fitter.field.parameters())


def test_sky_and_features_are_fitted_where_given(scene_log, scene_config, fit_settings):
    sky = torch.ones(8, 12, 16, dtype=torch.int8)
    log = dataclasses.replace(scene_log, sky=sky, sweeps=None)
    config = dataclasses.replace(scene_config, features=5)
    values = torch.ones(8, 5, 3, 4, dtype=torch.float16)
    teacher = LogFeatures(values, torch.arange(8), "ones")
    fitter = Fitter(log, config, fit_settings, CPU, teacher)
    terms = [fitter.take_step(0.0) for _ in range(15)]
    assert terms[-1]["features"] < terms[2]["features"]
    assert terms[-1]["sky"] < terms[2]["sky"]


def test_a_state_of_other_features_is_refused(scene_log, scene_config, fit_settings, tmp_path):
    config = dataclasses.replace(scene_config, features=5)
    values = torch.ones(1, 5, 3, 4, dtype=torch.float16)
    row = torch.full((8,), -1)
    row[3] = 0
    fitters = [
        Fitter(scene_log, config, fit_settings, CPU, LogFeatures(values, row, name))
        for name in ("ones", "others")
    ]
    fitters[0].save(tmp_path / "state")
    with pytest.raises(CheckpointError, match="written for features ones, now asked for others"):
        fitters[1].restore(tmp_path / "state")


def test_held_out_images_are_never_drawn(make):
    fitter = make()
    drawn = torch.cat([fitter._draw_pixels()[0] for _ in range(20)])
    assert set(drawn.tolist()) == set(range(6))


def test_a_loss_that_is_no_number_stops_the_fit(make):
    fitter = make()
    fitter.step = 5
    fitter.field.exposure.data.fill_(torch.nan)
    with pytest.raises(SceneError, match="finite"):
        fitter.take_step(0.0)


def test_a_state_of_something_else_is_refused(make, tmp_path, scene_log, fit_settings):
    fitter = make()
    fitter.save(tmp_path / "state")
    other = dataclasses.replace(scene_log, name="scene-0002")
    with pytest.raises(CheckpointError, match="scene-0002"):
        Fitter(other, fitter.field.config, fit_settings, CPU).restore(tmp_path / "state")
    all_fitted = dataclasses.replace(scene_log, held_out=torch.zeros(8, dtype=torch.bool))
    with pytest.raises(CheckpointError, match="images"):
        Fitter(all_fitted, fitter.field.config, fit_settings, CPU).restore(tmp_path / "state")
    faster = dataclasses.replace(fit_settings, rate=0.5)
    with pytest.raises(CheckpointError, match="settings"):
        Fitter(scene_log, fitter.field.config, faster, CPU).restore(tmp_path / "state")


def test_a_state_of_other_sky_masks_is_refused(scene_log, scene_config, fit_settings, tmp_path):
    def fitter(sky):
        log = dataclasses.replace(scene_log, sky=sky)
        return Fitter(log, scene_config, fit_settings, CPU)

    masks = torch.ones(8, *scene_log.image_size, dtype=torch.int8)
    for known, asked in ((None, masks), (masks, None), (masks, 0 * masks)):
        fitter(known).save(tmp_path / "state")
        with pytest.raises(CheckpointError, match="sky masks"):
            fitter(asked).restore(tmp_path / "state")
        fitter(known).restore(tmp_path / "state")


def test_a_state_that_knows_of_no_sky_masks_goes_on_without(make, tmp_path):
    fitter, other = make(), make()
    fitter.take_step(0.0)
    fitter.save(tmp_path / "state")
    metadata, tensors = read_tensors(tmp_path / "state")
    del metadata["sky masks"]
    write_tensors(tmp_path / "state", tensors, metadata)
    other.restore(tmp_path / "state")
    assert other.step == 1
    for name, value in fitter.field.state_dict().items():
        assert torch.equal(value, other.field.state_dict()[name]), name


def test_a_damaged_state_is_refused(make, tmp_path):
    fitter = make()
    fitter.save(tmp_path / "state")
    data = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        fitter.restore(tmp_path / "state")


def test_a_full_disk_keeps_the_last_state(make, tmp_path, monkeypatch):
    fitter = make()
    fitter.save(tmp_path / "state")
    before = (tmp_path / "state").read_bytes()
    fitter.take_step(0.0)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SceneError, match="make room"):
        fitter.save(tmp_path / "state")
    assert (tmp_path / "state").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]


def test_a_field_is_read_from_its_state(make, tmp_path):
    fitter = make()
    fitter.take_step(0.0)
    fitter.save(tmp_path / "state")
    field = load_field(tmp_path / "state")
    points = torch.rand(5, 3) * 8
    torch.testing.assert_close(field.at(0.3).density(points), fitter.field.at(0.3).density(points))


def test_the_uncontracted_part_surrounds_the_path(scene_log):
    poses = scene_log.scene_from_camera.clone()
    poses[0, :3, 3] = torch.tensor([-20.0, 3.0, 2.0])
    config = config_of(dataclasses.replace(scene_log, scene_from_camera=poses))
    assert config.inner_m == (70.0, 53.0, 10.0)
    assert config.cameras == scene_log.cameras
