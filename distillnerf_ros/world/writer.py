"""Procedural scenes written as a nuScenes v1.0 data set with lidarseg and Occ3D labels."""

import argparse
import concurrent.futures
import dataclasses
import json
import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data.nuscenes import LIDAR_NAME
from distillnerf_ros.data.tables import Row, SceneTables, write_tables
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.files import whole_file
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.world import rig_constants
from distillnerf_ros.world.capture import (
    STATE_FOLDER,
    Capture,
    Interval,
    Reading,
    Settings,
    capture,
    new_tables,
    scene_name,
    scene_of,
    stamp_us,
)
from distillnerf_ros.world.ground import RASTER_CELLS, RASTER_M, RASTER_ORIGIN_M

VERB_HELP = "write procedural street scenes as a nuScenes data set"
EXAMPLE = "distillnerf world --out world --scenes 4 --seed 1 --seconds 8 --size 800x450"

VERSION = "v1.0-world"
SIZES = {"1600x900": (900, 1600), "800x450": (450, 800), "400x225": (225, 400)}
_MASK_PIXEL_M = 0.1  # nuScenes' masks
_MASK_PIXELS_PER_STEP = 2
_WALKABLE = ("driveable surface", "sidewalk")  # what nuScenes' semantic prior marks


def write_dataset(
    out: Path, seeds: range, settings: Settings, workers: int = 2, progress: bool = False
) -> Path:
    """Write one scene per seed; what an earlier, interrupted call finished is kept.

    The same seeds and settings give the same bytes. Scenes of a further call are added. The
    tables list finished scenes only, so that the data set can be opened at any time.

    Args:
        out: data root to make or to add to.
        seeds: scene seeds.
        settings: length, image size, sweeps.
        workers: processes.
        progress: show a bar.

    Raises:
        DatasetError: ``out`` holds something else, or a world of other settings.
    """
    out = Path(out)
    _claim(out, settings)
    missing = [
        interval
        for seed in seeds
        for interval in _intervals(out, seed, settings)
        if not interval.record_file.is_file()
    ]
    try:
        with tqdm(total=len(missing), unit="keyframe", disable=None if progress else True) as bar:
            for _ in _captured(missing, workers):
                bar.update()
    finally:
        _publish(out, settings)
    return out


def _intervals(out: Path, seed: int, settings: Settings) -> list[Interval]:
    count = len(settings.keyframe_times_s())
    return [Interval(out, seed, index, settings) for index in range(count)]


def _claim(out: Path, settings: Settings) -> None:
    """Make the data root, or make sure that it was made with the same settings."""
    file = out / STATE_FOLDER / "settings.json"
    wanted = json.loads(json.dumps(dataclasses.asdict(settings)))
    if file.is_file():
        found = json.loads(file.read_text())
        if found != wanted:
            raise DatasetError(
                f"{out} holds a world of other settings: {found}, now asked for {wanted}; "
                "give another --out, or remove it first"
            )
        return
    if out.exists() and (not out.is_dir() or any(p != file.parent for p in out.iterdir())):
        raise DatasetError(f"{out} is not empty and holds no world; give another --out")
    with whole_file(file, DatasetError) as part:  # a kill here leaves a folder to claim anew
        part.write_text(json.dumps(wanted))


def _captured(intervals: list[Interval], workers: int) -> Iterator[None]:
    """Capture all intervals, in this process or in any order over several; yields after each."""
    if workers == 1 or len(intervals) < 2:
        for interval in intervals:
            capture(interval)
            yield
        return
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _use_one_thread)
    try:
        futures = [pool.submit(capture, interval) for interval in intervals]
        for future in concurrent.futures.as_completed(futures):
            future.result()
            yield
    finally:
        pool.shutdown(cancel_futures=True)


def _use_one_thread() -> None:
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _publish(out: Path, settings: Settings) -> None:
    """Write the tables of every finished scene; lidarseg labels appear together with them."""
    names = sorted(path.name for path in (out / STATE_FOLDER).glob("scene-*"))
    finished = []
    for name in names:
        intervals = _intervals(out, int(name.removeprefix("scene-")), settings)
        if all(interval.record_file.is_file() for interval in intervals):
            finished.append((name, _scene_rows(intervals)))
    if finished:
        splits: dict[str, list[str]] = {"train": [], "val": []}
        for name, _ in finished:  # every fifth seed is kept for validation
            splits["val" if int(name.removeprefix("scene-")) % 5 == 4 else "train"].append(name)
        write_tables(out, VERSION, [rows for _, rows in finished], splits)


def _scene_rows(intervals: list[Interval]) -> dict[str, list[Row]]:
    """Tables of one finished scene; also puts its map mask and lidarseg labels into place."""
    root, seed, settings = intervals[0].root, intervals[0].seed, intervals[0].settings
    tables = new_tables(seed)
    mask = f"maps/{scene_name(seed)}.png"
    tables.add_map(mask)
    if not (root / mask).is_file():
        _write_mask(root / mask, seed, settings)
    for name in CAMERA_NAMES:
        camera = rig_constants.CAMERAS[name]
        scale = settings.image_size[1] / rig_constants.IMAGE_SIZE_PX[1]
        k = camera.intrinsics * np.array([[scale], [scale], [1.0]])
        tables.add_sensor(name, camera.ego_from_camera, k)
    tables.add_sensor(LIDAR_NAME, rig_constants.ego_from_lidar())
    stamps = [stamp_us(seed, time_s) for time_s in settings.keyframe_times_s()]
    samples = [tables.add_sample(stamp) for stamp in stamps]
    records = [Capture.read(interval.record_file) for interval in intervals]
    for interval, sample, record in zip(intervals, samples, records, strict=True):
        for reading in record.readings:
            # nuScenes lists a sweep under the keyframe that is nearest in time
            nearest = int(np.argmin([abs(stamp - reading.timestamp_us) for stamp in stamps]))
            _add_reading(tables, interval, reading, samples[nearest])
        for box in record.annotations:
            tables.add_annotation(
                sample,
                box.instance,
                box.category,
                _shifted(box.map_from_box),
                box.size_m,
                box.lidar_points,
                box.visibility,
                box.attributes,
            )
    return tables.finish(f"procedural street, {records[0].look}, seed {seed}")


def _add_reading(tables: SceneTables, interval: Interval, reading: Reading, sample: str) -> None:
    is_lidar = reading.channel == LIDAR_NAME
    key = tables.add_sample_data(
        reading.channel,
        reading.timestamp_us,
        sample,
        _shifted(reading.map_from_ego),
        reading.is_key_frame,
        (0, 0) if is_lidar else interval.settings.image_size,
    )
    if is_lidar and reading.is_key_frame:
        labels = interval.root / tables.add_lidarseg(key, VERSION)
        if not labels.is_file():
            labels.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(interval.lidarseg_file, labels)


def _shifted(pose: list[list[float]]) -> Float[np.ndarray, "4 4"]:
    """A pose with the map's origin in the mask's corner, as nuScenes has it."""
    shifted = np.array(pose)
    shifted[:2, 3] -= RASTER_ORIGIN_M
    return shifted


def _write_mask(path: Path, seed: int, settings: Settings) -> None:
    """Map mask: 255 on carriageways and sidewalks, 0.1 m pixels, north (map y) up."""
    import cv2

    ground = scene_of(seed, settings.seconds).ground_on(torch.device("cpu"))
    step_m = _MASK_PIXEL_M * _MASK_PIXELS_PER_STEP
    offsets = (torch.arange(round(RASTER_CELLS * RASTER_M / step_m)) + 0.5) * step_m
    wanted = torch.tensor([OCC3D_CLASSES.index(name) for name in _WALKABLE])
    rows = []
    for y in (offsets + RASTER_ORIGIN_M[1]).split(256):
        xy = torch.stack(torch.meshgrid(offsets + RASTER_ORIGIN_M[0], y, indexing="xy"), dim=-1)
        rows.append(torch.isin(ground.class_at(xy).long(), wanted))
    mask = torch.cat(rows).flip(0).byte().numpy() * 255
    mask = mask.repeat(_MASK_PIXELS_PER_STEP, axis=0).repeat(_MASK_PIXELS_PER_STEP, axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf world``."""
    defaults = Settings()
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="data root to make")
    parser.add_argument("--scenes", type=int, default=1, metavar="K", help="number of scenes")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed of the first scene; the next is +1"
    )
    parser.add_argument(
        "--seconds", type=float, default=defaults.seconds, metavar="T", help="length of a scene"
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="1600x900", help="of the images")
    parser.add_argument(
        "--no-sweeps", action="store_true", help="keyframes only (2 Hz): a tenth of the time"
    )
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="processes; each uses one core"
    )


def run(args: argparse.Namespace) -> int:
    """Write the data set, or go on with an interrupted one.

    Raises:
        ConfigError: a number is out of range.
        DatasetError: see ``write_dataset``.
    """
    for name, value, low in (("scenes", args.scenes, 1), ("workers", args.workers, 1)):
        if value < low:
            raise ConfigError(f"--{name} {value} is out of range; expected at least {low}")
    if args.seed < 0:
        raise ConfigError(f"--seed {args.seed} is out of range; expected 0 or more")
    settings = Settings(args.seconds, SIZES[args.size], not args.no_sweeps)
    seeds = range(args.seed, args.seed + args.scenes)
    write_dataset(args.out, seeds, settings, args.workers, progress=True)
    names = scene_name(seeds[0]) + (f" .. {scene_name(seeds[-1])}" if args.scenes > 1 else "")
    print(f"{args.out}: {names}, {len(settings.keyframe_times_s())} keyframes each ({VERSION})")
    print(f"look at it: distillnerf check --dataroot {args.out}")
    return 0
