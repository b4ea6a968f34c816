"""torchvision imports beside any torch, in a fresh interpreter."""

import subprocess
import sys


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_torchvision_imports_and_transforms() -> None:
    out = run(
        "from distillnerf_ros.teachers.torchvision_shim import ensure_torchvision\n"
        "ensure_torchvision(); ensure_torchvision()\n"
        "import torch, torchvision\n"
        "from torchvision import transforms\n"
        "print(tuple(transforms.Resize(4)(torch.zeros(3, 8, 8)).shape))"
    )
    assert out.strip() == "(3, 4, 4)"


def test_missing_torchvision_names_the_remedy() -> None:
    out = run(
        "import sys; sys.modules['torchvision'] = None\n"
        "from distillnerf_ros.errors import CheckpointError\n"
        "from distillnerf_ros.teachers.torchvision_shim import ensure_torchvision\n"
        "try:\n    ensure_torchvision()\n"
        "except CheckpointError as error:\n    print(error)"
    )
    assert "distillnerf_ros[clip]" in out


def test_reading_the_module_imports_none_of_them() -> None:
    out = run(
        "import sys, distillnerf_ros.teachers.open_clip, distillnerf_ros.query.text\n"
        "print(sorted({'torchvision', 'timm', 'open_clip'} & set(sys.modules)))"
    )
    assert out.strip() == "[]"
