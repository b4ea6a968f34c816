"""Names, versions and files of the package, for pip and for colcon (ament_python)."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "distillnerf_ros"
HERE = Path(__file__).resolve().parent


def data_below(package: str) -> list[str]:
    """Files of a package that are not code (weights, model configurations), relative to it."""
    root = HERE / package
    files = (
        path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return sorted(str(path.relative_to(root)) for path in files if path.suffix != ".py")


def share(folder: str) -> tuple[str, list[str]]:
    """The files of a folder of the repository, to be installed under share/ by the same name."""
    files = sorted(path for path in (HERE / folder).glob("*.*") if path.is_file())
    return f"share/{NAME}/{folder}", [str(path.relative_to(HERE)) for path in files]


setup(
    name=NAME,
    version="0.1.0",
    description="Open-vocabulary 3D perception from one glance of the surround cameras",
    license="Apache-2.0",
    author="distillnerf_ros contributors",
    maintainer="distillnerf_ros maintainers",
    maintainer_email="distillnerf_ros@users.noreply.github.com",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: data_below(NAME)},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        share("launch"),
        share("config"),
    ],
    zip_safe=False,
    python_requires=">=3.10",
    # What an installed ROS 2 does not bring. The versions tested together: requirements/.
    install_requires=[
        "jaxtyping>=0.2.34",
        "numpy>=1.26,<3",
        "opencv-python-headless>=4.10,<5",
        "pillow>=10",
        "pyyaml>=6",
        "safetensors>=0.5",
        "scipy>=1.11",
        "torch>=2.4",
        "tqdm>=4",
    ],
    extras_require={
        "clip": ["open_clip_torch>=3.3,<4", "timm>=1.0.17", "torchvision>=0.19"],
        "bags": ["mcap-ros2-support>=0.5.5,<0.7", "mcap>=1.2,<2", "rosbags>=0.11,<0.12"],
        "nuscenes": ["nuscenes-devkit==1.2.0"],
        "train": ["tensorboardX>=2.6"],
        # Another teacher of depth, and many machines.
        "onnx": ["onnxruntime>=1.20"],
        "cluster": ["ray>=2.40"],
        "viz": ["matplotlib>=3.8"],
        # colcon test finds pytest by this name.
        "test": ["beartype", "hypothesis", "pytest"],
    },
    entry_points={
        "console_scripts": [
            "distillnerf = distillnerf_ros.cli:main",
            "distillnerf_node = distillnerf_ros.ros.node:main",
            "nuscenes_replay = distillnerf_ros.ros.replay:main",
        ],
    },
)
