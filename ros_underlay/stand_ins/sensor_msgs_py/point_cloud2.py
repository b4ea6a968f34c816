"""PointCloud2 to and from NumPy, with the names and arguments of the upstream module.

Source: the field layout of ``sensor_msgs/msg/PointCloud2`` and ``PointField``.
"""

import array
import sys
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

DUMMY_FIELD_PREFIX = "unnamed_field"

_DTYPES = {
    PointField.INT8: np.dtype(np.int8),
    PointField.UINT8: np.dtype(np.uint8),
    PointField.INT16: np.dtype(np.int16),
    PointField.UINT16: np.dtype(np.uint16),
    PointField.INT32: np.dtype(np.int32),
    PointField.UINT32: np.dtype(np.uint32),
    PointField.FLOAT32: np.dtype(np.float32),
    PointField.FLOAT64: np.dtype(np.float64),
}


def dtype_from_fields(fields: Iterable[PointField], point_step: int | None = None) -> np.dtype:
    """Structured dtype of one point.

    Args:
        fields: Description of the point; one with count > 1 becomes ``name_0``, ``name_1``, ...
        point_step: Bytes from one point to the next; None = no padding after the last field.

    Raises:
        ValueError: A field has a datatype PointField does not define.
    """
    names, offsets, formats = [], [], []
    for index, field in enumerate(fields):
        if field.datatype not in _DTYPES:
            raise ValueError(f"PointField {field.name!r} has unknown datatype {field.datatype}")
        dtype = _DTYPES[field.datatype]
        name = field.name or f"{DUMMY_FIELD_PREFIX}_{index}"
        for part in range(field.count):
            names.append(f"{name}_{part}" if field.count > 1 else name)
            offsets.append(field.offset + part * dtype.itemsize)
            formats.append(dtype)
    layout: dict = {"names": names, "formats": formats, "offsets": offsets}
    if point_step is not None:
        layout["itemsize"] = point_step
    return np.dtype(layout)


def read_points(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable | None = None,
    reshape_organized_cloud: bool = False,
) -> np.ndarray:
    """Points of a cloud as a structured array, without a copy where nothing is left out.

    Args:
        cloud: The message.
        field_names: Fields to keep; None = all.
        skip_nans: Leave out points with a NaN in any kept field.
        uvs: Indices (P,) of the points wanted, or pairs (column u, row v) if organised.
        reshape_organized_cloud: Return (height, width) instead of (height * width,).

    Returns:
        Structured array (P,) or (height, width).

    Raises:
        ValueError: A name is not a field, or skip_nans is asked of an organised result.
    """
    dtype = dtype_from_fields(cloud.fields, cloud.point_step)
    points = _rows(cloud, dtype)
    if bool(sys.byteorder != "little") != bool(cloud.is_bigendian):
        points = points.byteswap()
    if field_names is not None:
        missing = [name for name in field_names if name not in (dtype.names or ())]
        if missing:
            raise ValueError(f"cloud has fields {list(dtype.names or ())}, but not {missing}")
        points = points[list(field_names)]
    if skip_nans:
        if reshape_organized_cloud:
            raise ValueError(
                "skip_nans breaks the organisation of a cloud: ask for one of the two"
            )
        points = points[~_any_nan(points)]
    if uvs is not None:
        points = points[_flat_index(uvs, cloud.width)]
    if reshape_organized_cloud:
        points = points.reshape(cloud.height, cloud.width)
    return points


def _rows(cloud: PointCloud2, dtype: np.dtype) -> np.ndarray:
    """Points (height * width,) of a cloud whose rows may be padded to row_step bytes."""
    row_bytes = cloud.width * cloud.point_step
    if cloud.height <= 1 or cloud.row_step in (0, row_bytes):
        count = cloud.width * cloud.height
        return np.frombuffer(cloud.data, dtype=dtype, count=count)
    data = np.frombuffer(cloud.data, np.uint8, count=cloud.height * cloud.row_step)
    rows = data.reshape(cloud.height, cloud.row_step)[:, :row_bytes]
    return np.ascontiguousarray(rows).reshape(-1).view(dtype)


def _any_nan(points: np.ndarray) -> np.ndarray:
    """Mask (P,): a NaN in any field of the point."""
    mask = np.zeros(points.shape, bool)
    for name in points.dtype.names or ():
        if np.issubdtype(points.dtype[name], np.floating):
            mask |= np.isnan(points[name])
    return mask


def _flat_index(uvs: Iterable, width: int) -> np.ndarray:
    index = np.asarray(uvs if isinstance(uvs, np.ndarray) else list(uvs), dtype=np.int64)
    return index[:, 1] * width + index[:, 0] if index.ndim == 2 else index


def read_points_numpy(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable | None = None,
    reshape_organized_cloud: bool = False,
) -> np.ndarray:
    """As `read_points`, as a plain array (P, fields) or (height, width, fields).

    Raises:
        ValueError: The kept fields differ in datatype.
    """
    points = read_points(cloud, field_names, skip_nans, uvs, reshape_organized_cloud)
    names = points.dtype.names or ()
    if len({points.dtype[name] for name in names}) > 1:
        raise ValueError(f"fields {list(names)} differ in datatype: use read_points")
    return structured_to_unstructured(points)


def create_cloud(
    header: Header,
    fields: Sequence[PointField],
    points: np.ndarray | Iterable,
    step: int | None = None,
) -> PointCloud2:
    """Cloud of unorganised points.

    Args:
        header: Stamp and frame.
        fields: Description of one point.
        points: Structured array (P,) whose fields lie as described, plain array (P, fields), or
            sequence of tuples.
        step: Bytes from one point to the next; None = no padding.

    Raises:
        ValueError: The points do not fit the fields.
    """
    dtype = dtype_from_fields(fields, step)
    structured = _structured(points, dtype)
    data = array.array("B")
    data.frombytes(memoryview(structured).cast("B") if structured.size else b"")
    return PointCloud2(
        header=header,
        height=1,
        width=len(structured),
        is_dense=False,
        is_bigendian=sys.byteorder != "little",
        fields=list(fields),
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * len(structured),
        data=data,
    )


def _structured(points: np.ndarray | Iterable, dtype: np.dtype) -> np.ndarray:
    """Contiguous array (P,) of `dtype`."""
    if isinstance(points, np.ndarray) and points.dtype.names is not None:
        if points.dtype != dtype or points.ndim != 1:
            raise ValueError(
                f"points are {points.dtype} of shape {points.shape}, "
                f"the fields say {dtype} of shape (P,)"
            )
        return np.ascontiguousarray(points)
    if isinstance(points, np.ndarray):
        if points.ndim != 2 or points.shape[1] != len(dtype.names or ()):
            raise ValueError(
                f"points have shape {points.shape}, expected (P, {len(dtype.names or ())})"
            )
        return np.ascontiguousarray(unstructured_to_structured(points, dtype=dtype))
    return np.array([tuple(point) for point in points], dtype=dtype)


def create_cloud_xyz32(header: Header, points: np.ndarray | Iterable) -> PointCloud2:
    """Cloud with float32 fields x, y, z from points (P, 3)."""
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate("xyz")
    ]
    return create_cloud(header, fields, points)
