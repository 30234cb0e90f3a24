"""What docs/how-to/pixels.md shows is what happens: its Python runs, block by block."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.pixels.conftest import voxels
from warehouse import errors
from warehouse.cli.run import app

if TYPE_CHECKING:
    from collections.abc import Callable

    import warehouse

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "pixels.md"


def test_the_arrays_of_the_page_are_those_of_the_files(
    series: Callable[..., warehouse.Warehouse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first block, which opens a volume and slices it."""
    made = series(voxels(5), SliceThickness=2)
    made.root.rename(tmp_path / "archive")
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(blocks(text)[0], PAGE.name, "exec"), names)
    assert np.array_equal(names["voxels"], voxels(5))
    assert np.array_equal(names["lowest"], voxels(5)[:2, ::-1, 1:3])
    assert str(names["volume"].shape) in text


def blocks(text: str) -> list[str]:
    """The Python of a page."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.long("test_the_arrays_of_the_page_are_those_of_the_files")
def test_the_page_on_pixels_is_true(
    series: Callable[..., warehouse.Warehouse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = series(voxels(5), SliceThickness=2, RescaleSlope=1, RescaleIntercept=-1000)
    made.root.rename(tmp_path / "archive")
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in blocks(text):
        exec(compile(block, PAGE.name, "exec"), names)
    assert np.array_equal(names["voxels"], voxels(5))
    assert np.array_equal(names["lowest"], voxels(5)[:2, ::-1, 1:3])
    assert np.array_equal(names["batch"], voxels(5) - np.float32(1000))
    assert np.allclose(names["mean"], voxels(5).mean(0))
    assert str(names["volume"].shape) in text
    lazy = names["lazy"]  # as xarray has it: in the type of the file, zeros being no missing values
    assert (lazy.dims, lazy.dtype, lazy.data.npartitions) == (names["volume"].dims, np.int16, 5)
    assert np.array_equal(lazy.values, voxels(5))
    assert lazy.coords["slice"].to_numpy().tolist() == [0, 2, 4, 6, 8]


def test_the_page_on_pixels_names_what_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for option in re.findall(r"(?<=[` ])--([a-z]+)", text):
        assert f"--{option}" in app["volume"].assemble_argument_collection().__repr__(), option
    named = re.findall(r"`((?:No|Not|Source|Series|Pixels)[A-Z][A-Za-z]+)`", text)
    assert len(named) >= 7
    assert all(hasattr(errors, name) for name in named)
