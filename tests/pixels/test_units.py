"""Numbers are in the unit that a header states, wherever in it; else they are refused or have none."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import highdicom.image
import nibabel
import numpy as np
import pydicom
import pytest

import warehouse
from tests.command_line import run as run_in_process
from tests.dicom_files import dataset
from tests.made_once import made_once
from tests.pixels.conftest import answered_once, write_slice
from tests.pixels.test_multiframe import DOSE, ENHANCED_CT, IN_STACK, SHARED, frame, write_frames
from tests.pixels.test_pictures import opened
from warehouse.cli.run import run as run_command
from warehouse.errors import NoSingleUnit, NotReferable, PixelsUnreadable
from warehouse.pixels import files, pictures
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset

    Ingest = Callable[..., warehouse.Warehouse]

PET, PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.30"
STORED = np.stack([np.full((4, 6), 100 * n, np.uint16) for n in (1, 2, 3)])
PLACES = [frame([0, 0, 3.0 * z], z + 1) for z in range(3)]


def real_world(label: str | None, unit: str, slope: float | None = 0.25, **more: Any) -> Dataset:
    """Return an item of a Real World Value Mapping Sequence."""
    code = dataset(CodeValue=unit, CodingSchemeDesignator="UCUM", CodeMeaning=unit)
    usual = {
        "RealWorldValueFirstValueMapped": 0, "RealWorldValueLastValueMapped": 4095, "LUTLabel": label,
        "RealWorldValueSlope": slope, "RealWorldValueIntercept": None if slope is None else 10.0,
        "LUTExplanation": "made", "MeasurementUnitsCodeSequence": [code],
    }  # fmt: skip
    return dataset(**{key: value for key, value in {**usual, **more}.items() if value is not None})


def table(numbers: list[float], first: int = 100) -> dict[str, Any]:
    return {
        "slope": None, "RealWorldValueLUTData": numbers, "RealWorldValueFirstValueMapped": first,
        "RealWorldValueLastValueMapped": first + len(numbers) - 1,
    }  # fmt: skip


def maps(*mappings: Dataset, own: list[list[Dataset]] | None = None, **more: Any) -> Any:
    """Return a writer of a parametric map with these mappings, shared or one list per frame."""

    def put(folder: Path, uid: str) -> None:
        shared, frames = copy.deepcopy(SHARED), copy.deepcopy(PLACES)
        if mappings:
            shared[0].RealWorldValueMappingSequence = list(mappings)
        for item, of_frame in zip(frames, own or [], strict=False):
            item.RealWorldValueMappingSequence = of_frame
        identity = dataset(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")
        shared[0].PixelValueTransformationSequence = [identity]
        write_frames(
            folder / uid, STORED, frames, [IN_STACK], uid=f"{uid}.1", SeriesInstanceUID=uid,
            SOPClassUID=PARAMETRIC_MAP, SharedFunctionalGroupsSequence=shared, **more,
        )  # fmt: skip

    return put


def slices(*each: dict[str, Any], **shared: Any) -> Any:
    """Return a writer of three slices."""

    def put(folder: Path, uid: str) -> None:
        for n, pixels in enumerate(STORED, 1):
            own = each[n - 1] if each else {}
            write_slice(folder / f"{uid}.{n}", pixels, uid=f"{uid}.{n}", SeriesInstanceUID=uid,
                        **{"InstanceNumber": n, **shared, **own})  # fmt: skip

    return put


def dose(**more: Any) -> Any:
    def put(folder: Path, uid: str) -> None:
        usual = {
            "SOPClassUID": DOSE, "Modality": "RTDOSE", "FrameIncrementPointer": 0x3004000C,
            "GridFrameOffsetVector": [0, 3, 6], "DoseUnits": "GY", "DoseGridScaling": "0.0005",
            "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [2, 2], "SharedFunctionalGroupsSequence": None,
        }  # fmt: skip
        write_frames(folder / uid, STORED.astype("u4") * 10, [], uid=f"{uid}.1", SeriesInstanceUID=uid,
                     **{**usual, **more})  # fmt: skip

    return put


def transformed(*own: dict[str, Any], **shared_item: Any) -> Any:
    """Return a writer of an enhanced CT with Pixel Value Transformations."""

    def put(folder: Path, uid: str) -> None:
        shared, frames = copy.deepcopy(SHARED), copy.deepcopy(PLACES)
        if shared_item:
            shared[0].PixelValueTransformationSequence = [dataset(**shared_item)]
        for item, of_frame in zip(frames, own, strict=False):
            item.PixelValueTransformationSequence = [dataset(**of_frame)]
        write_frames(
            folder / uid, STORED, frames, [IN_STACK], uid=f"{uid}.1", SeriesInstanceUID=uid,
            SOPClassUID=ENHANCED_CT, Modality="CT", SharedFunctionalGroupsSequence=shared,
        )  # fmt: skip

    return put


ADC, PERFUSION = real_world("ADC", "um2/s"), real_world("CBF", "ml/min", 2.0)
OTHER_SLOPES = [[real_world("ADC", "um2/s", slope)] for slope in (1.0, 2.0, 4.0)]
HU = {"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"}

# Name: writer, unit, number of each slice. What the standard says is named beside each.
RIGHT: dict[str, tuple[Any, str | None, list[float]]] = {
    # PS3.3 C.8.8.3: dose is stored value times Dose Grid Scaling. dicompyler issue 78
    "dose": (dose(), "Gy", [0.5, 1, 1.5]),
    "relative dose": (dose(DoseUnits="RELATIVE"), "RELATIVE", [0.5, 1, 1.5]),
    "dose, no unit": (dose(DoseUnits=None), None, [0.5, 1, 1.5]),
    # PS3.3 C.7.6.16.2.11. UCL/STIR issue 1123
    "mapping, shared": (maps(ADC), "um2/s", [35, 60, 85]),
    "mapping, by frame": (maps(own=OTHER_SLOPES), "um2/s", [110, 410, 1210]),
    "mapping, at the top": (maps(RealWorldValueMappingSequence=[ADC]), "um2/s", [35, 60, 85]),
    "mapping of a slice": (slices(RealWorldValueMappingSequence=[ADC]), "um2/s", [35, 60, 85]),
    "mapping by table": (
        maps(real_world("T1", "ms", **table([n / 2 for n in range(201)]))), "ms", [0, 50, 100]),
    "beyond the mapping": (
        maps(real_world("T1", "ms", RealWorldValueLastValueMapped=250)), "ms", [35, 60, np.nan]),
    "the same mapping twice": (maps(ADC, ADC), "um2/s", [35, 60, 85]),
    # A modality LUT with a unit is what rescale means, whatever else is mapped.
    "PET and SUV": (slices(SOPClassUID=PET, Units="BQML", RescaleSlope=2, RescaleIntercept=0,
                           RealWorldValueMappingSequence=[PERFUSION, ADC]), "Bq/ml", [200, 400, 600]),
    "rescale without unit": (slices(SOPClassUID=None, RescaleSlope=2, RescaleIntercept=0), None, [200, 400, 600]),
    # PS3.3 C.8.9.1: a slope per slice, Units for all. SUV by body weight where nothing is said.
    "PET": (slices(*({"RescaleSlope": s} for s in (1, 2, 4)), SOPClassUID=PET, Units="BQML", RescaleIntercept=0),
            "Bq/ml", [100, 400, 1200]),
    "SUV": (slices(SOPClassUID=PET, Units="GML", RescaleSlope=1, RescaleIntercept=0), "{SUVbw}g/ml", [100, 200, 300]),
    "SUV, lean": (slices(SOPClassUID=PET, Units="GML", SUVType="LBM", RescaleSlope=1), "{SUVlbm}g/ml", [100, 200, 300]),
    # PS3.3 C.8.2.1: no Rescale Type in a CT image is HU; C.11.1.1.2: defined terms.
    "CT": (slices(RescaleSlope=1, RescaleIntercept=-1024), "HU", [-924, -824, -724]),
    "CT, US": (slices(RescaleSlope=1, RescaleIntercept=0, RescaleType="US"), None, [100, 200, 300]),
    "iodine": (slices(RescaleSlope=1, RescaleIntercept=0, RescaleType="MGML"), "mg/ml", [100, 200, 300]),
    "vendor's words": (slices(RescaleSlope=1, RescaleIntercept=0, RescaleType="normalized"), None, [100, 200, 300]),
    "nothing said": (slices(), None, [100, 200, 300]),
    # PS3.3 C.7.6.16.2.9; the frame's own item counts before the shared one.
    "transformation, shared": (transformed(**HU), "HU", [-924, -824, -724]),
    "transformation, own": (transformed(*({**HU, "RescaleSlope": n} for n in (1, 2)), **HU), "HU", [-924, -624, -724]),
}  # fmt: skip

# Name: writer and options, error, what it says.
REFUSED: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "several mappings": (maps(ADC, PERFUSION), True, NoSingleUnit,
                         r"choose one \(rescale='…'\): ADC \[um2/s\], CBF \[ml/min\]"),
    "no such mapping": (maps(ADC), "T2", NoSingleUnit, r"no mapping is called 'T2'; there are: modality \[no unit\], ADC"),
    "one name for two": (maps(ADC, real_world("ADC", "mm2/s")), "ADC", NoSingleUnit, "more than one mapping"),
    "frames of two units": (maps(own=[[ADC], [PERFUSION], [ADC]]), True, NoSingleUnit, "they have um2/s, ml/min"),
    "slices of two units": (slices(*({"Units": u} for u in ("BQML", "CNTS", "BQML")), SOPClassUID=PET, RescaleSlope=1),
                            True, NoSingleUnit, r"they have Bq/ml, \{counts\}"),
    "no dose grid scaling": (dose(DoseGridScaling=None), True, PixelsUnreadable, "DoseGridScaling is missing"),
    "table too short": (maps(real_world("T1", "ms", **table([1.0, 2.0]) | {"RealWorldValueLastValueMapped": 300})), True,
                        PixelsUnreadable, "or a table of its length"),
    "ends before it begins": (maps(real_world("T1", "ms", RealWorldValueFirstValueMapped=4096)), True,
                              PixelsUnreadable, "ends before it begins"),
    "no end": (maps(real_world("T1", "ms", RealWorldValueLastValueMapped=None)), True, PixelsUnreadable, "LastValueMapped"),
}  # fmt: skip


def unreadable(slope: str) -> Any:
    """Return a writer of slices with a slope that pydicom would not write."""

    def put(folder: Path, uid: str) -> None:
        slices(RescaleSlope="12345", RescaleIntercept=0)(folder, uid)
        for path in folder.glob(f"{uid}.*"):
            raw = path.read_bytes()
            assert raw.count(b"12345 ") == 1
            path.write_bytes(raw.replace(b"12345 ", slope.ljust(6).encode()))

    return put


IN_WINDOWS = np.stack([np.array([[0, 864], [1064, 1264], [2000, 4000]], np.uint16)] * 3)
WINDOWS = {
    "own": dataset(WindowCenter=40, WindowWidth=400),
    "shared": dataset(WindowCenter=[40, 300], WindowWidth=[400, 1500]),
}


def windows(place: str) -> Any:
    """Return a writer of an enhanced CT with a window in the groups of frames or in shared ones."""

    def put(folder: Path, uid: str) -> None:
        shared, frames = copy.deepcopy(SHARED), copy.deepcopy(PLACES)
        shared[0].PixelValueTransformationSequence = [dataset(**HU)]
        for group in frames if place == "own" else shared:
            group.FrameVOILUTSequence = [WINDOWS[place]]
        write_frames(
            folder / uid, IN_WINDOWS, frames, [IN_STACK], uid=f"{uid}.1", SeriesInstanceUID=uid,
            SOPClassUID=ENHANCED_CT, SharedFunctionalGroupsSequence=shared, WindowCenter=9000, WindowWidth=2,
        )  # fmt: skip

    return put


SLOPES, NO_NUMBERS = ["0", "1e-60", "1e300"], ["1,5", "1E400", "nan", "one"]
BY_FRAME = [[float(n * factor) for n in range(201)] for factor in (1, 2, 3)]
OTHERS = {
    "tables by frame": maps(own=[[real_world("T1", "ms", **table(n))] for n in BY_FRAME]),
    **{f"slope {slope}": slices(RescaleSlope=slope, RescaleIntercept=5) for slope in SLOPES},
    **{f"no number {slope}": unreadable(slope) for slope in NO_NUMBERS},
    **{f"window, {place}": windows(place) for place in WINDOWS},
}
WRITERS = {name: case[0] for name, case in (RIGHT | REFUSED).items()} | OTHERS
UIDS = {name: f"1.{number}" for number, name in enumerate(WRITERS)}


def every_kind(factory: pytest.TempPathFactory, mode: str) -> warehouse.Warehouse:
    """Return a warehouse of every kind, in a mode. Not to write to."""

    def make(folder: Path) -> None:
        (folder / "in").mkdir()
        for name, put in WRITERS.items():
            put(folder / "in", UIDS[name])
        warehouse.open(folder / "w", create=True).ingest(folder / "in", mode=mode, workers=1)

    return warehouse.open(made_once(factory, f"units-{mode}", make) / "w")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    opened_once = every_kind(tmp_path_factory, "full")
    with answered_once(opened_once, "frames"):
        yield opened_once


@pytest.fixture(scope="module", params=["full", "minimal"])
def every(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[warehouse.Warehouse]:
    if request.param == "full":
        yield request.getfixturevalue("full")
        return
    opened_once = every_kind(tmp_path_factory, request.param)
    with answered_once(opened_once, "frames"):
        yield opened_once


@pytest.mark.parametrize("name", RIGHT)
def test_numbers_are_in_the_unit_of_the_header(name: str, every: warehouse.Warehouse) -> None:
    wh, uid = every, UIDS[name]
    _, unit, wanted = RIGHT[name]
    # Frames of dose and of functional groups are a volume only where elements are stored.
    stack = wh.stack(uid, rescale=True)
    assert stack.unit == unit
    assert stack[:].dtype == np.float64
    assert np.array_equal(stack[:][:, 0, 0], wanted, equal_nan=True)
    assert np.array_equal(stack[1][0, 0], wanted[1], equal_nan=True)
    assert wh.stack(uid).unit is None, "stored values have no unit"


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_without_one_unit_are_refused(name: str, every: warehouse.Warehouse) -> None:
    wh, uid = every, UIDS[name]
    _, asked, error, why = REFUSED[name]
    stack = wh.stack(uid, rescale=asked)
    for ask in (lambda: stack[:], lambda: stack.unit):
        with pytest.raises(error, match=why):
            ask()
    times = 10 if "dose" in name else 1
    assert np.array_equal(wh.stack(uid)[:], STORED.astype("u4") * times), "as stored it is read"


def test_a_cohort_goes_on_beyond_numbers_without_one_unit(every: warehouse.Warehouse) -> None:
    """Of what is refused a cohort says why it has no array; a gallery shows it as it is stored."""
    with answered_once(every, "stack_geometry"):
        for asked in {case[1] for case in REFUSED.values()}:
            uids = [UIDS[name] for name, case in REFUSED.items() if case[1] == asked]
            all_loaded = list(every.iter_volumes(uids, rescale=asked))
            assert [loaded.series_uid for loaded in all_loaded] == uids
            for loaded in all_loaded:
                assert loaded.array is None
                assert loaded.why_not
    assert len(every.gallery(*(UIDS[name] for name in REFUSED)).pictures) == len(REFUSED)


def test_of_several_mappings_one_is_asked_for(full: warehouse.Warehouse) -> None:
    wh, uid = full, UIDS["several mappings"]
    for asked, unit, first in (
        ("ADC", "um2/s", 35),
        ("ml/min", "ml/min", 210),
        ("modality", None, 100),
    ):
        volume = wh.volume(uid, rescale=asked)
        assert (volume.unit, volume[0, 0, 0]) == (unit, first)
    with pytest.raises(NoSingleUnit, match="ADC"):
        files.nifti(wh.volume(uid))
    with pytest.raises(NotReferable, match="choose one"):
        wh.volume(uid).references()


def test_mappings_equal_highdicom(full: warehouse.Warehouse) -> None:
    """By frame, by table: a maintained library is the oracle."""
    uid = UIDS["tables by frame"]
    volume = full.volume(uid, rescale=True)
    dataset = pydicom.dcmread(full.root.parent / "in" / uid)
    for index in range(3):
        transform = highdicom.image._CombinedPixelTransform(
            dataset, frame_index=index, apply_real_world_transform=True, output_dtype=np.float64
        )
        assert np.array_equal(volume[index], transform(STORED[index]))


@pytest.mark.parametrize("slope", NO_NUMBERS)
def test_a_slope_that_is_no_number_is_not_taken_for_one(
    slope: str, full: warehouse.Warehouse
) -> None:
    wh, uid = full, UIDS[f"no number {slope}"]
    for ask in (wh.volume(uid, rescale=True).read, lambda: files.nifti(wh.volume(uid))):
        with pytest.raises(PixelsUnreadable, match="RescaleSlope is no"):
            ask()
    assert np.array_equal(wh.volume(uid)[:], STORED)


# -- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_scaled", "unit"),
    [("dose", True, "Gy"), ("mapping, shared", True, "um2/s"), ("mapping, by frame", False, "um2/s"),
     ("mapping by table", False, "ms"), ("beyond the mapping", False, "ms"), ("PET", False, "Bq/ml"),
     ("CT", True, "HU"), ("transformation, own", False, "HU")],
)  # fmt: skip
def test_nifti_has_the_numbers(
    name: str, is_scaled: bool, unit: str, full: warehouse.Warehouse
) -> None:
    """Slope and intercept in the header where they say it for every frame, else float64."""
    wh, uid, wanted = full, UIDS[name], RIGHT[name][2]
    image = nibabel.Nifti1Image.from_bytes(files.nifti(wh.volume(uid)).to_bytes())
    assert (image.get_data_dtype().kind == "u") == is_scaled
    assert np.allclose(image.get_fdata()[0, 0], wanted, rtol=1e-7, equal_nan=True)
    assert image.header["descrip"].item() == f"unit: {unit}".encode()
    exact = files.nifti(wh.volume(uid, rescale=True))
    assert np.array_equal(exact.get_fdata()[0, 0], wanted, equal_nan=True)


@pytest.mark.parametrize("slope", SLOPES)
def test_a_slope_that_nifti_cannot_hold_is_not_written_into_its_header(
    slope: str, full: warehouse.Warehouse
) -> None:
    """A slope of 0, in float32, would say that stored values are the numbers."""
    volume = full.volume(UIDS[f"slope {slope}"])
    image = nibabel.Nifti1Image.from_bytes(files.nifti(volume).to_bytes())
    assert image.get_data_dtype() == np.float64
    assert np.array_equal(
        np.asarray(image.dataobj)[0, 0], [n * float(slope) + 5 for n in (100, 200, 300)]
    )


def test_references_say_the_scale_or_are_refused(full: warehouse.Warehouse) -> None:
    for name, wanted in {
        "dose": {"RescaleSlope": 0.0005, "rescaled_unit": "Gy"},
        "PET": {"RescaleSlope": [1, 2, 4], "rescaled_unit": "Bq/ml"},
        "transformation, own": {"RescaleSlope": [1, 2, 1], "RescaleIntercept": -1024, "rescaled_unit": "HU"},
        "mapping, shared": "some of its stored values are outside of its mapping",
        "mapping by table": "lookup table",
    }.items():  # fmt: skip
        volume = full.volume(UIDS[name])
        if isinstance(wanted, str):
            with pytest.raises(NotReferable, match=wanted):
                volume.references()
            continue
        said = json.loads(volume.references()["refs"]["voxels/.zattrs"])
        assert {key: said[key] for key in said if key.lower().startswith("rescale")} == wanted


# -- windows in functional groups -------------------------------------------------------------------


def test_a_window_in_functional_groups_counts_like_one_at_the_top(
    full: warehouse.Warehouse,
) -> None:
    # cornerstone3D issue 2745; PS3.3 C.7.6.16.2.10 (Frame VOI LUT), C.11.2.1.2.1 (LINEAR)
    wanted = [[0, 0], [128, 255], [255, 255]]
    for place in WINDOWS:
        uid = UIDS[f"window, {place}"]
        assert full.volume(uid, window="header")[:].tolist() == [wanted] * 3
        assert full.stack(uid).with_values(Values(window="header"))[2].tolist() == wanted
        picture = opened(pictures.png(pictures.slice_picture(full.volume(uid), 1)))
        assert picture.shape == (3, 3), "square pixels"
        assert picture[:, [0, -1]].tolist() == wanted


# -- the command ------------------------------------------------------------------------------------


def test_the_command_asks_for_a_mapping(full: warehouse.Warehouse, tmp_path: Path) -> None:
    asked = ("volume", UIDS["several mappings"], "-w", full.root)
    refused = run_in_process(*asked, "--nifti", tmp_path / "b.nii")
    assert refused.returncode == 1
    assert "ADC [um2/s], CBF [ml/min]" in refused.stderr
    assert not (tmp_path / "b.nii").exists()
    done = run_in_process(*asked, "--mapping", "ADC", "--npy", tmp_path / "a.npy")
    assert done.stdout.splitlines()[0] == "unit     um2/s"
    assert np.load(tmp_path / "a.npy")[:, 0, 0].tolist() == [35, 60, 85]


@pytest.mark.long("test_the_command_asks_for_a_mapping")
def test_the_command_prints_the_unit_and_asks_for_a_mapping(
    full: warehouse.Warehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uid = UIDS["several mappings"]

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run_command(["volume", uid, *map(str, arguments), "-w", str(full.root)])
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *capsys.readouterr())

    code, out, _ = run(
        "--mapping", "ADC", "--npy", tmp_path / "a.npy", "--nifti", tmp_path / "a.nii"
    )
    assert (code, out.splitlines()[0]) == (0, "unit     um2/s")
    assert np.load(tmp_path / "a.npy")[:, 0, 0].tolist() == [35, 60, 85]
    assert nibabel.load(tmp_path / "a.nii").get_fdata()[0, 0].tolist() == [35, 60, 85]
    assert "unit     ml/min\n" in run("--mapping", "ml/min")[1]
    for asked in (
        ["--rescale"],
        ["--nifti", tmp_path / "b.nii"],
        ["--references", tmp_path / "b.json"],
    ):
        code, _, said = run(*asked)
        assert (code, "ADC [um2/s], CBF [ml/min]" in said, "Traceback" in said) == (1, True, False)
    assert not list(tmp_path.glob("b.*"))
    assert run("--png", tmp_path / "c.png")[0] == 0, "a picture needs no unit"
