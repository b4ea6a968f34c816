"""What a forward pass costs, and what it must not do."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import torch
from host_waits import HostWaits
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.checkpoint import Checkpoint
from distillnerf_ros.config import ModelConfig, VoxelConfig
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.voxels import birds_eye as birds_eye_page
from distillnerf_ros.voxels import grid as grid_page
from distillnerf_ros.voxels import paint as paint_page
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid, build_grid
from distillnerf_ros.voxels.sparse_conv import CHUNK_VALUES, SparseConv, SparseVoxelNet

POINTS_M = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) * 3


def made_of(config: ModelConfig) -> Pipeline:
    """With random weights; a look from above proposes voxels, fewer than the ceiling allows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DistillNeRF(config)
    if model.voxel_net.birds_eye is not None:
        torch.nn.init.constant_(model.voxel_net.birds_eye.logits.bias, -1.8)
    return Pipeline(Checkpoint(model, None), torch.device("cpu"))


@pytest.fixture(scope="module")
def looking_down(small_config) -> Pipeline:
    voxels = dataclasses.replace(
        small_config.voxels, birds_eye_channels=16, birds_eye_cell_channels=2
    )
    return made_of(dataclasses.replace(small_config, voxels=voxels))


def waits_of(work) -> Counter:
    with HostWaits() as waits:
        work()
    return Counter(waits.found)


@pytest.fixture
def as_on_a_gpu(monkeypatch) -> None:
    """Tables get the ceilings' size, and calibration, which is checked on the host, is not."""
    for module in (grid_page, birds_eye_page, paint_page):
        monkeypatch.setattr(module, "sized_by_ceilings", lambda values: True)
    monkeypatch.setattr(CameraRig, "_check_calibration", lambda rig: None)


def test_the_host_waits_for_nothing_in_a_forward_pass(looking_down, make_rig, as_on_a_gpu):
    rig, model = make_rig(), looking_down.model
    assert model.config.render.paint
    # Which cameras are there, and whether images are in 0..1, is asked while they are on the host.
    asked = {
        ("cameras/rig.py", "present", "a value is read"): 1,
        ("pipeline.py", "encode", "a value is read"): 1,
    }
    assert waits_of(lambda: looking_down.encode(rig)) == Counter(asked)
    field = looking_down.encode(rig)
    assert field.grid.coarse_count > (field.grid.coarse_cells >= 0).sum() > 0
    assert waits_of(lambda: looking_down.depth(field, rig)) == Counter()
    assert waits_of(lambda: looking_down.render(field, rig)) == Counter()
    assert field.paint is not None


def test_without_spare_rows_the_host_waits_once_per_set_of_voxels(looking_down, make_rig):
    """Coarse and fine ones that points occupy, proposed ones, painted ones."""
    rig = make_rig()
    sizes = {
        ("voxels/grid.py", "heaviest", "nonzero"): 3,
        ("voxels/paint.py", "fit", "a value is read"): 1,
    }
    waits = waits_of(lambda: looking_down.render(looking_down.encode(rig), rig))
    assert {place: waits[place] for place in sizes} == sizes


@torch.inference_mode()
def test_no_size_depends_on_a_number(small_config, make_rig, monkeypatch):
    """On "meta" there are shapes and no numbers: whatever asked for one would fail."""
    monkeypatch.setattr(CameraRig, "_check_calibration", lambda rig: None)
    voxels = dataclasses.replace(small_config.voxels, birds_eye_channels=16)
    config = dataclasses.replace(small_config, voxels=voxels)
    model, rig = DistillNeRF(config).eval().to("meta"), make_rig().to("meta")
    field = model.fuse(rig, *model.depth_stages(rig))
    assert field.grid.fine_count == config.grid.max_fine_voxels
    rendered = model.render(field, rig)
    assert rendered.rgb.shape == rig.images.shape
    assert field.paint is not None


def test_spare_rows_change_no_answer(looking_down, make_rig, request):
    rig = make_rig()
    plain = looking_down.encode(rig)
    views, occupancy = looking_down.render(plain, rig), looking_down.occupancy(plain)
    request.getfixturevalue("as_on_a_gpu")
    field = looking_down.encode(rig)
    assert field.grid.coarse_count > plain.grid.coarse_count > 0
    assert field.grid.fine_count > plain.grid.fine_count > 0
    alive = field.grid.fine_slots >= 0
    assert int(alive.sum()) == plain.grid.fine_count
    torch.testing.assert_close(field.latent(POINTS_M), plain.latent(POINTS_M))
    torch.testing.assert_close(looking_down.occupancy(field).probability, occupancy.probability)
    for name, expected in vars(views).items():
        got = getattr(looking_down.render(field, rig), name)
        torch.testing.assert_close(got, expected, equal_nan=True)


def test_occupancy_without_labels_waits_for_nothing(looking_down, make_rig):
    field = looking_down.encode(make_rig())
    looking_down.occupancy(field)  # makes the tables of constants
    assert waits_of(lambda: looking_down.occupancy(field)) == Counter()


@pytest.mark.parametrize(
    ("what", "work"),
    [
        ("a value is read", lambda x: float(x[0])),
        ("a value is read", lambda x: bool(x[0] > 0)),
        ("tolist", lambda x: x.tolist()),
        ("numpy", lambda x: x.numpy()),
        ("nonzero", lambda x: x.nonzero()),
        ("_unique2", lambda x: torch.unique(x)),
        ("repeat_interleave", lambda x: x.repeat_interleave(torch.arange(4))),
        ("index by a mask", lambda x: x[x > 0]),
        ("index_put_ by a mask", lambda x: x.clone().__setitem__(x > 0, x[:3])),
        ("new_tensor", lambda x: x.new_tensor([1.0])),
        ("tensor", lambda x: torch.tensor([1.0])),
        ("__getitem__ by a list", lambda x: x[[0, 1]]),
    ],
)
def test_waits_are_found(what, work, monkeypatch):
    monkeypatch.setattr("host_waits.PACKAGE", Path(__file__).parent)
    values = torch.arange(4.0)
    assert what in {found[2] for found in waits_of(lambda: work(values))}
    with torch.inference_mode():
        assert what in {found[2] for found in waits_of(lambda: work(values))}


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x[torch.arange(2)] + x[1] + x[:2].sum(),
        lambda x: x.repeat_interleave(2),
        lambda x: torch.where(x > 1, x, 0.0).masked_scatter(x > 1, x),
        lambda x: x.clone().__setitem__(x > 0, 1.0),
    ],
)
def test_what_needs_no_wait_is_not_called_one(work):
    assert waits_of(lambda: work(torch.arange(4.0))) == Counter()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_not_waited_for(looking_down, make_rig, recwarn):
    rig = make_rig().to("cuda")
    model = looking_down.model.to("cuda")
    stages = model.depth_stages(rig)
    model.render(model.fuse(rig, *stages), rig)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        model.render(model.fuse(rig, *model.depth_stages(rig)), rig)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        looking_down.model.to("cpu")
    assert not any("synchronizing" in str(warning.message) for warning in recwarn)


@pytest.mark.parametrize("from_above", [False, True])
def test_topology_is_found_once_per_grid(
    from_above, looking_down, small_config, make_rig, monkeypatch
):
    """The convolutions of a level share one table of neighbours."""
    calls: Counter = Counter()
    for name in ("coarse_neighbors", "fine_neighbors"):
        found = getattr(SparseGrid, name)

        def counted(grid, *args, name=name, found=found):
            calls[name, grid.coarse_count] += 1
            return found(grid, *args)

        monkeypatch.setattr(SparseGrid, name, counted)
    pipeline = looking_down if from_above else made_of(small_config)
    field = pipeline.encode(make_rig())
    lifted = min(count for _, count in calls)
    expected = {("coarse_neighbors", lifted): 1, ("fine_neighbors", lifted): 1}
    if from_above:
        assert field.grid.coarse_count > lifted
        expected["coarse_neighbors", field.grid.coarse_count] = 1
    assert calls == expected


class Gathers(TorchDispatchMode):
    """Counts the rows that are gathered, and the values of the largest tensor made."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ == "index_select":
            self.rows += args[2].numel()
        if isinstance(out, torch.Tensor):
            self.largest = max(self.largest, out.numel())
        return out


def grid_in(shape: tuple[int, int, int], count: int) -> SparseGrid:
    """The first points in cells of 2 m, whatever the volume around them."""
    layout = GridLayout(
        Contraction((1.0 * shape[0], 1.0 * shape[1], 1.0 * shape[2]), 1.0), shape, 2
    )
    return build_grid(layout, POINTS_M[:count], torch.ones(count, dtype=torch.bool), 9999, 9999)[0]


@torch.no_grad()
def test_a_convolution_reads_27_rows_per_voxel_whatever_the_volume():
    layer = SparseConv(4, 6)
    for count in (50, 400):
        volumes = set()
        for shape in ((16, 16, 16), (32, 32, 64)):
            grid = grid_in(shape, count)
            neighbors = grid.fine_neighbors(grid.coarse_neighbors())
            values = torch.randn(grid.fine_count, 4)
            with Gathers() as seen, FlopCounterMode(display=False) as flops:
                layer(values, neighbors)
            assert seen.rows == 27 * grid.fine_count
            assert flops.get_total_flops() == 2 * grid.fine_count * 27 * 4 * 6
            volumes.add((grid.fine_count, grid.coarse_count))
        assert len(volumes) == 1


@torch.no_grad()
def test_the_sparse_network_works_for_its_voxels_alone():
    """Multiplications in closed form: per fine and per coarse voxel, none per empty cell."""
    config = VoxelConfig(4, 3, 8, 6, coarse_layers=1, fine_layers=1)
    for shape in ((16, 16, 16), (32, 32, 64)):
        grid = grid_in(shape, 200)
        net = SparseVoxelNet(config, grid.layout, 9999)
        fine, coarse = torch.randn(grid.fine_count, 5), torch.randn(grid.coarse_count, 4)
        with FlopCounterMode(display=False) as flops:
            net(fine, coarse, grid)
        per_fine = 27 * 5 * 6 + 6 * 5  # a convolution, and the head
        per_coarse = 27 * 4 * 8 + 8 * 6 * 8 + 27 * 16 * 8 + 8 * 4  # in, down, layer, head
        expected = 2 * (grid.fine_count * per_fine + grid.coarse_count * per_coarse)
        assert flops.get_total_flops() == expected


@torch.no_grad()
def test_neighbours_are_never_all_in_memory(monkeypatch):
    """On a GPU they would be 17 GB in ``base``: there, too, a convolution works in chunks."""
    assert set(CHUNK_VALUES) == {"cpu", "cuda"}
    assert max(CHUNK_VALUES.values()) * 4 <= 0.3e9
    grid, layer = grid_in((16, 16, 16), 400), SparseConv(4, 6)
    neighbors = grid.fine_neighbors(grid.coarse_neighbors())
    values = torch.randn(grid.fine_count, 4)
    with Gathers() as whole:
        expected = layer(values, neighbors)
    assert whole.largest == grid.fine_count * 27 * 4
    monkeypatch.setitem(CHUNK_VALUES, "cpu", 50 * 27 * 4)
    with Gathers() as chunked:
        torch.testing.assert_close(layer(values, neighbors), expected)
    assert chunked.largest == 50 * 27 * 4
    assert chunked.rows == whole.rows
