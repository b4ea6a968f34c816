"""Arrays that are kept: made once, made again where the file is damaged."""

from pathlib import Path

import numpy as np
import pytest

from distillnerf_ros.errors import TeacherError
from distillnerf_ros.training import cache
from distillnerf_ros.training.cache import kept

NUMBERS = {"numbers": np.arange(1000)}


def refuse() -> cache.Arrays:
    raise AssertionError("was to be kept")


def test_what_is_kept_is_not_made_again(tmp_path: Path) -> None:
    kept(tmp_path, "kind", "key", lambda: NUMBERS)
    np.testing.assert_array_equal(
        kept(tmp_path, "kind", "key", refuse)["numbers"], NUMBERS["numbers"]
    )
    assert kept(tmp_path, "kind", "other key", lambda: {}) == {}
    assert kept(None, "kind", "key", lambda: {}) == {}


@pytest.mark.parametrize("length", [0, 3, 50, 4000])
def test_damaged_files_are_made_again(tmp_path: Path, length: int) -> None:
    kept(tmp_path, "kind", "key", lambda: NUMBERS)
    path = next(tmp_path.glob("kind/*.npz"))
    path.write_bytes(path.read_bytes()[:length])
    again = kept(tmp_path, "kind", "key", lambda: NUMBERS)
    np.testing.assert_array_equal(again["numbers"], NUMBERS["numbers"])
    kept(tmp_path, "kind", "key", refuse)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    def full(file, **arrays: np.ndarray) -> None:
        file.write(b"some of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(TeacherError, match=r"\.npz cannot be written .*No space left"):
        kept(tmp_path, "kind", "key", lambda: NUMBERS)
    assert list(tmp_path.glob("kind/*")) == []


def test_a_folder_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TeacherError, match=r"cannot be written .*Not a directory"):
        kept(tmp_path / "file" / "cache", "kind", "key", lambda: NUMBERS)
