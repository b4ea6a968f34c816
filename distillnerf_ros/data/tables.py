"""Writing the tables of a nuScenes v1.0 data set; tokens follow from content, not from chance."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.cameras.pixels import k_to_opencv
from distillnerf_ros.data.categories import LIDARSEG_CATEGORIES

Row = dict[str, Any]

_ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
_VISIBILITIES = (("1", "v0-40"), ("2", "v40-60"), ("3", "v60-80"), ("4", "v80-100"))
_SCENE_TABLES = (
    "log",
    "map",
    "scene",
    "sample",
    "sample_data",
    "ego_pose",
    "calibrated_sensor",
    "instance",
    "sample_annotation",
    "lidarseg",
)


def token(*parts: object) -> str:
    """32 hexadecimal digits that depend on the parts alone."""
    text = "/".join(str(part) for part in parts)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def shared_tables() -> dict[str, list[Row]]:
    """Tables that are the same for every scene: categories, attributes, sensors, visibilities."""
    categories = [
        {
            "token": token("category", name),
            "name": name,
            "description": f"{name} (Occ3D: {label})",
            "index": index,
        }
        for index, (name, label) in enumerate(LIDARSEG_CATEGORIES)
    ]
    sensors = [(name, "camera") for name in CAMERA_NAMES] + [("LIDAR_TOP", "lidar")]
    return {
        "category": categories,
        "attribute": [
            {"token": token("attribute", name), "name": name, "description": name}
            for name in _ATTRIBUTES
        ],
        "sensor": [
            {"token": token("sensor", channel), "channel": channel, "modality": modality}
            for channel, modality in sensors
        ],
        "visibility": [
            {"token": key, "level": level, "description": f"visibility of {level} percent"}
            for key, level in _VISIBILITIES
        ],
    }


def pose_fields(a_from_b: Float[np.ndarray, "4 4"]) -> Row:
    """``translation`` and ``rotation`` (w, x, y, z) of a rigid transform."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(a_from_b[:3, :3]).as_quat().tolist()
    sign = -1.0 if w < 0 else 1.0
    return {
        "translation": a_from_b[:3, 3].tolist(),
        "rotation": [sign * w, sign * x, sign * y, sign * z],
    }


class SceneTables:
    """Rows of one scene; records are added in time order and linked at the end."""

    def __init__(self, name: str, log_file: str, location: str, date: str) -> None:
        self.name = name
        self.log_file = log_file
        self.rows: dict[str, list[Row]] = {table: [] for table in _SCENE_TABLES}
        self._log = token("log", name)
        self.rows["log"].append(
            {
                "token": self._log,
                "logfile": log_file,
                "vehicle": log_file.split("-")[0],
                "date_captured": date,
                "location": location,
            }
        )

    def add_map(self, filename: str) -> None:
        """Name the map mask of the scene's log, relative to the data root."""
        self.rows["map"].append(
            {
                "token": token("map", self.name),
                "category": "semantic_prior",
                "filename": filename,
                "log_tokens": [self._log],
            }
        )

    def add_sensor(
        self,
        channel: str,
        ego_from_sensor: Float[np.ndarray, "4 4"],
        intrinsics: Float[np.ndarray, "3 3"] | None = None,
    ) -> None:
        """Add the calibration of one sensor; only cameras have intrinsics.

        They come in this package's pixels; tables count pixel centres from 0, as the devkit draws.
        """
        self.rows["calibrated_sensor"].append(
            {
                "token": token("calibrated_sensor", self.name, channel),
                "sensor_token": token("sensor", channel),
                **pose_fields(ego_from_sensor),
                "camera_intrinsic": [] if intrinsics is None else k_to_opencv(intrinsics).tolist(),
            }
        )

    def add_sample(self, timestamp_us: int) -> str:
        """Add a keyframe; returns its token."""
        sample = token("sample", self.name, timestamp_us)
        self.rows["sample"].append(
            {"token": sample, "timestamp": timestamp_us, "scene_token": token("scene", self.name)}
        )
        return sample

    def filename(self, channel: str, timestamp_us: int, is_key_frame: bool) -> str:
        """Path of a sensor file below the data root, in nuScenes' manner."""
        folder = "samples" if is_key_frame else "sweeps"
        ending = "pcd.bin" if channel == "LIDAR_TOP" else "jpg"
        return f"{folder}/{channel}/{self.log_file}__{channel}__{timestamp_us}.{ending}"

    def add_sample_data(
        self,
        channel: str,
        timestamp_us: int,
        sample: str,
        map_from_ego: Float[np.ndarray, "4 4"],
        is_key_frame: bool,
        image_size: tuple[int, int] = (0, 0),
    ) -> str:
        """Add one reading of one sensor with its ego pose; returns its token."""
        key = token("sample_data", self.name, channel, timestamp_us)
        self.rows["ego_pose"].append(
            {"token": key, "timestamp": timestamp_us, **pose_fields(map_from_ego)}
        )
        self.rows["sample_data"].append(
            {
                "token": key,
                "sample_token": sample,
                "ego_pose_token": key,
                "calibrated_sensor_token": token("calibrated_sensor", self.name, channel),
                "timestamp": timestamp_us,
                "fileformat": "pcd" if channel == "LIDAR_TOP" else "jpg",
                "is_key_frame": is_key_frame,
                "height": image_size[0],
                "width": image_size[1],
                "filename": self.filename(channel, timestamp_us, is_key_frame),
            }
        )
        return key

    def add_annotation(
        self,
        sample: str,
        instance: int,
        category: str,
        map_from_box: Float[np.ndarray, "4 4"],
        size_m: Sequence[float],
        lidar_points: int,
        visibility: int,
        attributes: Iterable[str],
    ) -> None:
        """Add one box of one keyframe.

        Args:
            sample: keyframe token.
            instance: number of the object within the scene.
            category: nuScenes category name.
            map_from_box: pose of the box centre, x = forward.
            size_m: length, width, height.
            lidar_points: lidar returns inside.
            visibility: 1 .. 4.
            attributes: nuScenes attribute names.
        """
        length, width, height = size_m
        self.rows["sample_annotation"].append(
            {
                "token": token("sample_annotation", self.name, sample, instance),
                "sample_token": sample,
                "instance_token": token("instance", self.name, instance),
                "visibility_token": str(visibility),
                "attribute_tokens": [token("attribute", name) for name in attributes],
                **pose_fields(map_from_box),
                "size": [width, length, height],
                "num_lidar_pts": lidar_points,
                "num_radar_pts": 0,
                "category": category,
            }
        )

    def add_lidarseg(self, sample_data: str, version: str) -> str:
        """Add the lidarseg labels of a lidar keyframe; returns their path."""
        filename = f"lidarseg/{version}/{sample_data}_lidarseg.bin"
        self.rows["lidarseg"].append(
            {"token": sample_data, "sample_data_token": sample_data, "filename": filename}
        )
        return filename

    def finish(self, description: str) -> dict[str, list[Row]]:
        """Link the records, add scene and instances, and hand over all rows."""
        samples = self.rows["sample"]
        self.rows["scene"].append(
            {
                "token": token("scene", self.name),
                "log_token": self._log,
                "nbr_samples": len(samples),
                "first_sample_token": samples[0]["token"],
                "last_sample_token": samples[-1]["token"],
                "name": self.name,
                "description": description,
            }
        )
        _link(samples, "scene_token")
        _link(self.rows["sample_data"], "calibrated_sensor_token")
        self._finish_instances()
        return self.rows

    def _finish_instances(self) -> None:
        annotations = self.rows["sample_annotation"]
        _link(annotations, "instance_token")
        tracks: dict[str, list[Row]] = {}
        for row in annotations:
            tracks.setdefault(row["instance_token"], []).append(row)
        for instance, track in tracks.items():
            self.rows["instance"].append(
                {
                    "token": instance,
                    "category_token": token("category", track[0]["category"]),
                    "nbr_annotations": len(track),
                    "first_annotation_token": track[0]["token"],
                    "last_annotation_token": track[-1]["token"],
                }
            )
        for row in annotations:
            del row["category"]


def _link(rows: list[Row], group: str) -> None:
    """Set ``prev`` and ``next`` among the rows of each group, in the order given."""
    last: dict[str, Row] = {}
    for row in rows:
        before = last.get(row[group])
        row["prev"] = before["token"] if before else ""
        row["next"] = ""
        if before:
            before["next"] = row["token"]
        last[row[group]] = row


def write_tables(
    root: Path, version: str, scenes: Iterable[dict[str, list[Row]]], splits: dict[str, list[str]]
) -> None:
    """Write the version folder anew from the rows of its scenes; it is replaced as a whole."""
    tables = {**shared_tables(), **{name: [] for name in _SCENE_TABLES}}
    for scene in scenes:
        for name, rows in scene.items():
            tables[name].extend(rows)
    staging = root / f".{version}.partial"
    staging.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        (staging / f"{name}.json").write_text(json.dumps(rows, indent=0))
    (staging / "splits.json").write_text(json.dumps(splits, indent=1))
    target = root / version
    target.mkdir(exist_ok=True)
    for file in sorted(staging.iterdir()):
        file.replace(target / file.name)
    staging.rmdir()
