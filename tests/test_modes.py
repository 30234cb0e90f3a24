"""What an import mode left out is missing with a reason: no smaller number, no row that is not there.

Each view is asked in every mode about the same files. Ids are those of the places of files in their
batch, so that rows of two modes can be compared.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

import warehouse
from tests.command_line import run
from tests.conftest import packaged_files
from tests.derived_objects import annotations, slide
from tests.dicom_files import image, write
from tests.flat import flat
from tests.forms import few_alike
from warehouse.settings import IngestSettings
from warehouse.sqlfiles import by_name, read_models
from warehouse.store.tables import REGISTRY

VIEWS = [model for model in read_models() if model.is_view]
INVENTORIES = {
    "normal_elements", "element_values", "element_statistics", "element_definitions",
    "element_conflicts", "element_runs", "element_segments", "element_set_kinds", "element_summaries", "element_sketches", "element_sets", "element_counts",
    "tags", "vendor_elements", "utc_offsets", "private_names", "group_elements",
}  # fmt: skip
"""Views of the stored elements themselves: what was not stored is not among them."""
SAYING = [model for model in VIEWS if "not_read" in [column.name for column in model.columns]]


def philips_and_ge(folder: Path) -> None:
    """Diffusion whose b-values or directions stand in private elements, and a rule's attribute."""
    for n, b in enumerate((0, 500, 1000)):
        ge = image(
            f"1.7.{n}", Modality="MR", SeriesInstanceUID="1.7", Manufacturer="GE MEDICAL SYSTEMS",
            DiffusionBValue=1000.0 if b else 0.0,
        )  # fmt: skip
        block = ge.private_block(0x0019, "GEMS_ACQU_01", create=True)
        for element, part in ((0xBB, 0.6), (0xBC, 0.8), (0xBD, 0.0)):
            block.add_new(element, "DS", str(part if b else 0))
        write(folder / f"ge{n}", ge)
        philips = image(
            f"1.8.{n}", Modality="MR", SeriesInstanceUID="1.8", Manufacturer="Philips",
            AcquisitionContrast="DIFFUSION",
        )  # fmt: skip
        block = philips.private_block(0x2001, "Philips Imaging DD 001", create=True)
        block.add_new(0x03, "FL", float(b))
        write(folder / f"philips{n}", philips)


MODES = ("minimal", "normal", "full")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of which no package brings one like it. Not to be written to."""
    folder = tmp_path_factory.mktemp("modes")
    philips_and_ge(folder / "in")
    # No package brings a PET, or bulk annotations.
    pet = image("1.9.1", Modality="PT", SeriesInstanceUID="1.9", Units="BQML")
    write(folder / "in" / "pet", pet)
    write(folder / "in" / "annotations", annotations())
    write(folder / "in" / "slide", slide())
    # Two volumes, told apart by an element that is no attribute of `instances`.
    for n in range(4):
        heart = image(
            f"1.10.{n}", Modality="MR", SeriesInstanceUID="1.10", TriggerTime=float(n // 2),
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, n % 2],
            PixelSpacing=[1, 1], PixelData=bytes(8),
        )  # fmt: skip
        write(folder / "in" / f"heart{n}", heart)
    return folder / "in"


def read_in_each_mode(folder: Path, *paths: Path) -> dict[str, warehouse.Warehouse]:
    opened = {}
    for mode in MODES:
        opened[mode] = warehouse.open(folder / mode, create=True)
        opened[mode].ingest(*paths, mode=mode, workers=1)
    return opened


@pytest.fixture(scope="module")
def few(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, warehouse.Warehouse]:
    """What was made, in each mode."""
    return read_in_each_mode(tmp_path_factory.mktemp("few"), source)


@pytest.fixture(scope="module")
def modes(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, warehouse.Warehouse]:
    """With the files of packages."""
    # A volume has three slices; that it has a hundred says nothing more of a mode.
    packaged = list(few_alike(packaged_files(), 3))
    return read_in_each_mode(tmp_path_factory.mktemp("all"), source, *packaged)


def depends_on_elements(name: str) -> bool:
    """Tell whether a view reads elements or vendor payloads, itself or through others."""
    if name in {table.name for table in REGISTRY if table.is_staged}:
        return True
    model = by_name(name)
    # Stored by the ingest, which read all elements whatever the mode.
    return model.table is None and any(map(depends_on_elements, model.depends))


def test_every_view_over_elements_says_what_was_not_read() -> None:
    silent = {
        model.name
        for model in VIEWS
        if model.table is None and depends_on_elements(model.name)
    } - {model.name for model in SAYING} - INVENTORIES  # fmt: skip
    # These define the stored table, or say it in `why_not`.
    assert silent == {
        "instance_attributes", "instances_from_elements", "bids_paths", "frame_slices",
        "stack_geometry", "mosaic_geometry",
        # What `geometry_of` is given; `series_geometry`, which reads it, says it.
        "image_slices",
        # Where values that are known disagree; `series` says what is not known.
        "entity_conflicts",
    }  # fmt: skip


@pytest.fixture(scope="module")
def answers(
    modes: dict[str, warehouse.Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, duckdb.DuckDBPyConnection]:
    """The rows of the views that say what was not read, in each mode."""
    names = [model.name for model in SAYING]
    return {mode: flat(tmp_path_factory, mode, wh, *names) for mode, wh in modes.items()}


@lru_cache(maxsize=1)
def all_rows_of(
    answers: duckdb.DuckDBPyConnection, view: str
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows with which those of both other modes are compared, one after the other."""
    return rows_of(answers, view)


def rows_of(answers: duckdb.DuckDBPyConnection, view: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    asked = answers.execute(f"from {view}")
    names = [column[0] for column in asked.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in asked.fetchall()]
    grain = by_name(view).grain
    return {tuple(row[column] for column in grain): row for row in rows}


FEW_VIEWS = ("annotation_groups", "object_references", "phase_encoding", "tiled_images")
"""Those of the files that were made which are planned soonest."""


@pytest.mark.parametrize("view", FEW_VIEWS)
def test_some_views_are_right_or_null_with_the_reason(
    few: dict[str, warehouse.Warehouse], view: str
) -> None:
    answers = {mode: wh.catalog.connection for mode, wh in few.items()}
    excused = {mode: compare_with_full(answers, view, mode) for mode in MODES}
    assert excused["minimal"]
    assert not excused["full"]


@pytest.mark.long("test_some_views_are_right_or_null_with_the_reason")
@pytest.mark.parametrize("mode", ["minimal", "normal"])
@pytest.mark.parametrize("view", [model.name for model in SAYING if model.name != "unread"])
def test_a_view_is_right_or_null_with_the_reason(
    answers: dict[str, duckdb.DuckDBPyConnection], view: str, mode: str
) -> None:
    excused = compare_with_full(answers, view, mode)
    if mode == "minimal":
        assert excused


def compare_with_full(
    answers: dict[str, duckdb.DuckDBPyConnection], view: str, mode: str
) -> set[Any]:
    """Compare rows with those of mode full; return the keys of those that give a reason."""
    whole, less = all_rows_of(answers["full"], view), rows_of(answers[mode], view)
    assert all(row["not_read"] is None for row in whole.values())
    excused = {key[0] for key, row in less.items() if row["not_read"] is not None}
    for key, row in less.items():
        full = whole.get(key, {})
        wrong = {
            name
            for name, value in row.items()
            if name
            not in {
                "not_read",
                *by_name(view).grain,
                "series_key",
                "uptake_why_not",
                "why",
                "why_not",
            }
            and value != full.get(name)
            # NaN differs from itself, and an entity is known in every mode.
            and value == value  # noqa: PLR0124
            and value is not None
        }
        assert not (wrong and full), (key, wrong)
        changed = any(row[name] != full.get(name) for name in row if name != "not_read")
        assert not changed or row["not_read"] is not None or not full, key
        assert full or row["not_read"] is not None, key
    assert {key[0] for key in set(whole) - set(less)} <= excused
    return excused


def test_diffusion_is_whole_or_nothing(few: dict[str, warehouse.Warehouse]) -> None:
    """In mode normal the b-values of GE were [1000.0], without directions."""
    question = (
        "select series_key, b_values, diffusion_direction_count, not_read from diffusion_series "
        "where series_key in ('1.7', '1.8') order by all"
    )
    asked = {mode: wh.catalog.connection.execute(question) for mode, wh in few.items()}
    assert asked["full"].fetchall() == [
        ("1.7", [0.0, 1000.0], 1, None), ("1.8", [0.0, 500.0, 1000.0], 0, None),
    ]  # fmt: skip
    why = "read in mode normal: private elements were not stored"
    assert asked["normal"].fetchall() == [
        ("1.7", None, None, why), ("1.8", None, None, why),
    ]  # fmt: skip


def test_full_is_the_default_everywhere(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a")
    assert IngestSettings().mode == "full"
    warehouse.open(tmp_path / "api", create=True).ingest(tmp_path / "in", workers=1)
    run("ingest", tmp_path / "in", "-w", tmp_path / "cli", "--quiet")
    asked = {"api": "full", "cli": "full"}
    for mode in ("normal", "minimal"):
        run("ingest", tmp_path / "in", "-w", tmp_path / mode, "-q", "--quiet", "--mode", mode)
        run("ingest", tmp_path / "in", "-w", tmp_path / f"env-{mode}", DICOM_WAREHOUSE_MODE=mode)
        asked[f"env-{mode}"] = mode
    for name, mode in asked.items():
        found = (
            warehouse.open(tmp_path / name, create=True).sql("select mode from files").fetchall()
        )
        assert found == [(mode,)], name


def test_info_counts_the_instances_of_each_mode(tmp_path: Path) -> None:
    for n, mode in enumerate(("minimal", "normal", "normal", "full")):
        write(tmp_path / mode / str(n), uid=f"1.{n}")
    wh = warehouse.open(tmp_path / "w", create=True)
    for mode in ("minimal", "normal", "full"):
        wh.ingest(tmp_path / mode, mode=mode, workers=1)
    counted = {"minimal": 1, "normal": 2, "full": 1}
    assert json.loads(run("info", "-w", tmp_path / "w", "--json").stdout)["modes"] == counted
    assert "1 minimal, 2 normal, 1 full" in run("info", "-w", tmp_path / "w").stdout
    assert wh.info()["modes"] == counted


def test_a_tag_is_answered_from_the_column_of_its_keyword(
    modes: dict[str, warehouse.Warehouse],
) -> None:
    """In every mode, and where functional groups state the attribute."""
    for mode, wh in modes.items():
        for tag, keyword in (("(0018,0081)", "EchoTime"), ("00180095", "PixelBandwidth")):
            for table in ("series", "instances"):
                wanted = wh.select(table, {f"{keyword}__null": False}, columns=keyword).fetchall()
                found = wh.select(table, {f"{tag}__null": False}, columns=tag).fetchall()
                assert (found, bool(found)) == (wanted, True), (mode, tag, table)
            assert wh.values("series", tag) == wh.values("series", keyword)


def test_commands_say_that_elements_were_not_stored(tmp_path: Path) -> None:
    file = write(tmp_path / "1", uid="1.1", ReconstructionDiameter=100)
    warehouse.open(tmp_path / "w", create=True).ingest(file, mode="minimal", workers=1)
    for asked in (("header", "1.1"), ("select", "series", "ReconstructionDiameter__min=1")):
        done = run(*asked, "-w", tmp_path / "w")
        assert "elements of 1 of 1 files were not stored (mode minimal)" in done.stderr, asked
    assert run("select", "series", "Modality=CT", "-w", tmp_path / "w").stderr == ""
