"""Depth by small networks whose answer is known in closed form."""

import pickle
import sys
from pathlib import Path

import pytest
import torch

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.teachers.mono_depth import FREE_SIZE, FURTHEST_M, MonoDepth, inverted

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

RED_MEAN, RED_DEVIATION = 0.485, 0.229


def write_network(
    path: Path,
    *,
    shape=(1, 3, None, None),
    gain: float = 10.0,
    offset: float = 2.0,
    output: str = "predicted_depth",
    squeeze: bool = False,
    pool: int = 1,
) -> Path:
    """An ONNX network: depth = gain * red + offset, where red is what it was before ImageNet's.

    Args:
        path: file to write.
        shape: of the input.
        gain: metres per unit of red.
        offset: metres.
        output: name of the output.
        squeeze: whether the output is (1, h, w) instead of (1, 1, h, w).
        pool: the output is so many times smaller than the input.
    """
    channels = shape[1] if len(shape) > 1 else 3
    weight = [gain * RED_DEVIATION] + [0.0] * (channels - 1)
    constants = [
        helper.make_tensor("weight", TensorProto.FLOAT, (1, channels, 1, 1), weight),
        helper.make_tensor("bias", TensorProto.FLOAT, (1,), [offset + gain * RED_MEAN]),
        helper.make_tensor("axis", TensorProto.INT64, (1,), [1]),
    ]
    last = "pooled" if squeeze else output
    nodes = [
        helper.make_node("Conv", ["image", "weight", "bias"], ["full"]),
        helper.make_node(
            "AveragePool", ["full"], [last], kernel_shape=[pool, pool], strides=[pool, pool]
        ),
    ]
    if squeeze:
        nodes.append(helper.make_node("Squeeze", [last, "axis"], [output]))
    graph = helper.make_graph(
        nodes,
        "depth",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def grey(*values: float, size: tuple[int, int] = (28, 42)) -> torch.Tensor:
    """One image of each brightness."""
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, *size).contiguous()


def pinhole(count: int, focal_px: float) -> torch.Tensor:
    k = torch.tensor([[focal_px, 0, 21.0], [0, focal_px, 14.0], [0, 0, 1]])
    return k.expand(count, 3, 3)


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("pool", [1, 7])
def test_depth_is_what_the_network_says_of_the_image(tmp_path, squeeze, pool) -> None:
    path = write_network(tmp_path / "n.onnx", squeeze=squeeze, pool=pool)
    depth = MonoDepth.load(path, size=(56, 84))(grey(0.0, 0.3, 1.0), pinhole(3, 40))
    assert depth.shape == (3, 28, 42)
    expected = torch.tensor([2.0, 5.0, 12.0])[:, None, None].expand(3, 28, 42)
    torch.testing.assert_close(depth, expected)


def test_a_slope_comes_back_in_its_place(tmp_path) -> None:
    # A ramp of brightness stays a ramp through resizing; only the borders are flattened.
    images = torch.linspace(0, 1, 42).expand(1, 3, 28, 42).contiguous()
    path = write_network(tmp_path / "n.onnx", shape=(1, 3, 70, 70))
    depth = MonoDepth.load(path)(images, pinhole(1, 40))
    torch.testing.assert_close(
        depth[0, :, 2:-2], (2 + 10 * images[0, 0])[:, 2:-2], atol=0.02, rtol=0
    )


def test_images_keep_their_proportions_in_a_square_network(tmp_path) -> None:
    square = MonoDepth.load(write_network(tmp_path / "n.onnx", shape=(1, 3, 70, 70)))
    assert square.size == (70, 70)
    assert square.fitted((28, 42)) == (47, 70)
    # The padding is of the mean colour, 6.85 m; nothing of it is in the answer.
    depth = square(grey(0.1), pinhole(1, 40))
    torch.testing.assert_close(depth, torch.full((1, 28, 42), 3.0))


def test_canonical_depth_is_scaled_by_the_focal_length_of_the_fitted_image(tmp_path) -> None:
    path = write_network(tmp_path / "n.onnx", shape=(1, 3, 56, 84))
    network = MonoDepth.load(path, canonical_focal_px=160.0)
    depth = network(grey(0.3, 0.3), torch.cat([pinhole(1, 40), pinhole(1, 120)]))
    # Twice enlarged: focal lengths 80 and 240 px for a canonical one of 160.
    assert depth[0].unique().tolist() == pytest.approx([2.5])
    assert depth[1].unique().tolist() == pytest.approx([7.5])


def test_far_depth_is_not_sure(tmp_path) -> None:
    path = write_network(tmp_path / "n.onnx", gain=80.0)
    depth = MonoDepth.load(path, size=(28, 42))(grey(0.5, 0.9), pinhole(2, 40))
    assert depth[0].unique().tolist() == pytest.approx([42.0], rel=1e-4)
    assert depth[1].isnan().all()
    assert 42 < FURTHEST_M < 74


def test_a_network_of_any_size_is_given_a_default(tmp_path) -> None:
    path = write_network(tmp_path / "n.onnx")
    assert MonoDepth.load(path).size == FREE_SIZE
    assert MonoDepth.load(path, size=(28, 56)).size == (28, 56)
    fixed = write_network(tmp_path / "f.onnx", shape=(1, 3, 28, 42))
    with pytest.raises(CheckpointError, match="42x28 pixels, asked for 56x28"):
        MonoDepth.load(fixed, size=(28, 56))


def test_names_tell_files_and_settings_apart(tmp_path) -> None:
    one = write_network(tmp_path / "1.onnx")
    other = write_network(tmp_path / "2.onnx", gain=11.0)
    names = {
        MonoDepth.load(one).name,
        MonoDepth.load(other).name,
        MonoDepth.load(one, canonical_focal_px=1000.0).name,
        MonoDepth.load(one, size=(28, 28)).name,
    }
    assert len(names) == 4
    again = (tmp_path / "copy.onnx", one.read_bytes())
    again[0].write_bytes(again[1])
    assert MonoDepth.load(again[0]).name in names


def test_another_process_opens_the_file_itself(tmp_path) -> None:
    network = MonoDepth.load(write_network(tmp_path / "n.onnx", shape=(1, 3, 28, 42)))
    copy = pickle.loads(pickle.dumps(network))
    torch.testing.assert_close(copy(grey(0.2), pinhole(1, 40)), torch.full((1, 28, 42), 4.0))


def test_torchscript_says_the_same(tmp_path) -> None:
    class Network(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            red = image[:, :1] * 0.229 + 0.485
            return {"normal": image, "depth": 10 * red + 2}

    path = tmp_path / "n.ts"
    torch.jit.script(Network()).save(str(path))
    network = MonoDepth.load(path, size=(28, 42))
    expected = torch.full((1, 28, 42), 4.0)
    torch.testing.assert_close(network(grey(0.2), pinhole(1, 40)), expected)
    copy = pickle.loads(pickle.dumps(network))
    torch.testing.assert_close(copy(grey(0.2), pinhole(1, 40)), expected)


def test_files_that_are_no_networks_are_refused(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        MonoDepth.load(tmp_path / "n.onnx")
    for name, said in (("n.onnx", "no ONNX file"), ("n.pt", "no TorchScript")):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(CheckpointError, match=said):
            MonoDepth.load(tmp_path / name)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "state.pth")
    with pytest.raises(CheckpointError, match="not a state dictionary"):
        MonoDepth.load(tmp_path / "state.pth")
    path = write_network(tmp_path / "whole.onnx")
    with pytest.raises(CheckpointError, match="expected more than 0"):
        MonoDepth.load(path, canonical_focal_px=0.0)


@pytest.mark.parametrize("shape", [(1, 3, None), (4, 3, 28, 42), (1, 4, 28, 42)])
def test_inputs_of_another_rank_or_number_are_refused(tmp_path, shape) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["depth"])],
        "same",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "n.onnx"))
    with pytest.raises(CheckpointError, match=r"expected .*\(1, 3, h, w\)"):
        MonoDepth.load(tmp_path / "n.onnx")


def test_an_output_of_another_shape_is_refused(tmp_path) -> None:
    class Colour(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.exp()

    torch.jit.script(Colour()).save(str(tmp_path / "n.ts"))
    network = MonoDepth.load(tmp_path / "n.ts", size=(28, 42))
    with pytest.raises(CheckpointError, match=r"shape \(1, 3, 28, 42\).*expected \(1, h, w\)"):
        network(grey(0.5), pinhole(1, 40))


def test_a_size_that_the_network_does_not_take_is_named(tmp_path) -> None:
    class Patches(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.reshape(1, 3, 28, 42)[:, 0]

    torch.jit.script(Patches()).save(str(tmp_path / "n.ts"))
    with pytest.raises(
        CheckpointError, match=r"fails on an image of \(1, 3, 14, 14\).*--mono-size"
    ):
        MonoDepth.load(tmp_path / "n.ts", size=(14, 14))(grey(0.5), pinhole(1, 40))


@pytest.mark.parametrize(
    ("gain", "offset", "said"),
    [(10.0, -3.0, "not positive"), (float("inf"), 1.0, "not positive"), (1e5, 1.0, "median of")],
)
def test_what_cannot_be_metres_is_refused(tmp_path, gain, offset, said) -> None:
    path = write_network(tmp_path / "n.onnx", gain=gain, offset=offset)
    network = MonoDepth.load(path, size=(28, 42))
    with pytest.raises(CheckpointError, match=said):
        network(grey(0.1), pinhole(1, 40))


@pytest.mark.parametrize("output", ["disparity", "inverse_depth", "relative_depth"])
def test_outputs_that_are_named_otherwise_are_refused(tmp_path, output) -> None:
    path = write_network(tmp_path / "n.onnx", output=output)
    with pytest.raises(CheckpointError, match="disparity or relative"):
        MonoDepth.load(path)


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch) -> None:
    path = write_network(tmp_path / "n.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CheckpointError, match=r"distillnerf_ros\[onnx\]"):
        MonoDepth.load(path)


def test_disparity_of_a_road_is_upside_down() -> None:
    below = torch.arange(32) + 0.5 - 12
    depth = torch.where(below > 0, 60 / below, torch.nan)[None, :, None].expand(3, 32, 8)
    assert not inverted(depth)
    assert inverted(100 / depth)
    assert not inverted(torch.full((3, 32, 8), torch.nan))
