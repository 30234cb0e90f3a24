"""Standardized uptake values of PET by the rules of three makers, or the reason why there are none.

The independent computation is QIBA's pseudo-code for SUV (vendor-neutral), written out here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

import warehouse
from tests.asking import answer_of
from tests.derived_objects import code
from tests.dicom_files import dataset, image, write
from warehouse.cli.run import run as run_command
from warehouse.errors import NoSingleUnit, UsageError
from warehouse.pixels import pictures
from warehouse.pixels.uptake import SUV
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

PET = "1.2.840.10008.5.1.4.1.1.128"
HALF_LIFE, DOSE = 6586.2, 370e6
SLOPES = (0.5, 1.0, 1.5)


def tracer(**more: Any) -> Dataset:
    usual = {
        "RadionuclideTotalDose": DOSE, "RadionuclideHalfLife": HALF_LIFE,
        "RadiopharmaceuticalStartTime": "091600",
    } | more  # fmt: skip
    return dataset(**{key: value for key, value in usual.items() if value is not None})


def series(folder: Path, uid: str, *each: dict[str, Any], private: Any = None, **more: Any) -> None:
    """Write three slices of 100, with slopes of 0.5, 1 and 1.5; the scan begins at 10:16."""
    for n, slope in enumerate(SLOPES):
        usual: dict[str, Any] = {
            "SOPClassUID": PET, "Modality": "PT", "SeriesInstanceUID": uid, "Units": "BQML",
            "DecayCorrection": "START", "CorrectedImage": ["DECY", "ATTN", "SCAT"], "PatientWeight": 70,
            "SeriesDate": "20240102", "SeriesTime": "101600", "AcquisitionDate": "20240102",
            "AcquisitionTime": "101600", "RescaleSlope": slope, "RescaleIntercept": 0, "Rows": 2, "Columns": 2,
            "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
            "PixelData": np.full(4, 100, "<u2").tobytes(), "InstanceNumber": n + 1, "PixelSpacing": [4, 4],
            "ImagePositionPatient": [0, 0, 4 * n], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PatientSex": "M", "PatientSize": 1.75, "RadiopharmaceuticalInformationSequence": [tracer()],
        } | more | (each[n] if each else {})  # fmt: skip
        made = image(f"{uid}.{n}", **usual)
        made["PixelData"].VR = "OW"
        if private is not None:
            private(made)
        write(folder / f"{uid}.{n}", made)


def philips(element: int, value: str) -> Any:
    def add(made: Dataset) -> None:
        made.private_block(0x7053, "Philips PET Private Group", create=True).add_new(
            element, "DS", value
        )

    return add


def ge(scan_at: str) -> Any:
    def add(made: Dataset) -> None:
        made.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", scan_at)

    return add


DAY = "20240102"
DECAYED = 70 * 1000 / (DOSE * 2 ** (-3600 / HALF_LIFE))
"""An hour from the injection at 09:16 to the scan at 10:16."""
RIGHT: dict[str, tuple[dict[str, Any], float]] = {
    # Siemens: Bq/ml, corrected to the begin of the series.
    "siemens": ({"Manufacturer": "SIEMENS"}, DECAYED),
    # In the clock of the scan, whatever clock the date-time of the injection is in.
    "offset": ({"TimezoneOffsetFromUTC": "+0900", "RadiopharmaceuticalInformationSequence": [
        tracer(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime=f"{DAY}091600+0900")
    ]}, DECAYED),
    "other clock": ({"TimezoneOffsetFromUTC": "+0900", "RadiopharmaceuticalInformationSequence": [
        tracer(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime=f"{DAY}001600+0000")
    ]}, DECAYED),
    # GE: the series was made later than it was scanned; its own element says when it was.
    "ge": ({
        "Manufacturer": "GE MEDICAL SYSTEMS", "SeriesTime": "140000", "private": ge(f"{DAY}101600")
    }, DECAYED),
    # Philips: counts, with a factor to SUV, or one to Bq/ml.
    "philips suv": ({"Manufacturer": "Philips", "Units": "CNTS", "private": philips(0x00, "0.0005")}, 0.0005),
    "philips activity": (
        {"Manufacturer": "Philips", "Units": "CNTS", "private": philips(0x09, "2.5")}, 2.5 * DECAYED
    ),
    # 89Zr, imaged three days after the injection, whose day is stated.
    "days later": ({"RadiopharmaceuticalInformationSequence": [
        tracer(RadionuclideHalfLife=282276, RadiopharmaceuticalStartDateTime="20231230091600")
    ]}, 70 * 1000 / (DOSE * 2 ** (-73 * 3600 / 282276))),
    # Corrected to the injection: nothing has decayed.
    "admin": ({"DecayCorrection": "ADMIN"}, 70 * 1000 / DOSE),
    "already": ({"Units": "GML"}, 1.0),
    "over midnight": ({
        "SeriesTime": "003000", "AcquisitionTime": "003000", "RadiopharmaceuticalInformationSequence": [
            tracer(RadiopharmaceuticalStartTime="233000")
        ],
    }, DECAYED),
}  # fmt: skip
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "not corrected": ({"CorrectedImage": ["DECY"]}, "not corrected for attenuation and decay"),
    "no decay": ({"DecayCorrection": "NONE"}, "neither START nor ADMIN"),
    "counts": ({"Units": "CNTS"}, "without a factor of Philips"),
    "other units": ({"Units": "PROPCPS"}, "neither BQML, GML nor CNTS"),
    "two injections": ({"RadiopharmaceuticalInformationSequence": [tracer(), tracer()]}, "several injections"),
    "no dose": ({"RadiopharmaceuticalInformationSequence": [tracer(RadionuclideTotalDose=None)]}, "TotalDose is not stated"),
    "mega": ({"RadiopharmaceuticalInformationSequence": [tracer(RadionuclideTotalDose=370)]}, "may not be in Bq"),
    "no half-life": ({"RadiopharmaceuticalInformationSequence": [tracer(RadionuclideHalfLife=None)]}, "HalfLife is not stated"),
    "minutes": ({"RadiopharmaceuticalInformationSequence": [tracer(RadionuclideHalfLife=20.4)]}, "may not be in s"),
    "grams": ({"PatientWeight": 70000}, "no weight in kilograms"),
    "day unknown": ({"RadiopharmaceuticalInformationSequence": [tracer(RadionuclideHalfLife=282276)]}, "states no day"),
    "no start": ({"RadiopharmaceuticalInformationSequence": [tracer(RadiopharmaceuticalStartTime=None)]}, "no start of the"),
    "unknown clock": ({"RadiopharmaceuticalInformationSequence": [
        tracer(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime=f"{DAY}091600+0900")
    ]}, "no TimezoneOffsetFromUTC"),
    "no weight": ({"PatientWeight": None}, "PatientWeight is not stated"),
    "ge elsewhere": ({"private": ge(f"{DAY}094500")}, "start of the scan that GE states"),
    "lean": ({"Units": "GML", "SUVType": "LBM"}, "another measure than body weight"),
    "surface": ({"Units": "CM2ML", "SUVType": "BSA"}, "by body surface"),
    "enhanced": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.130"}, "an enhanced PET"),
}  # fmt: skip
EACH: dict[str, tuple[tuple[dict[str, Any], ...], str]] = {
    "two weights": (({}, {"PatientWeight": 80}, {}), "differ in PatientWeight"),
    "one with an empty weight": (({}, {"PatientWeight": ""}, {}), "differ in PatientWeight"),
    "one without units": (({}, {"Units": None}, {}), "differ in Units"),
}
UIDS = {
    name: f"1.54.{n}"
    for n, name in enumerate([*RIGHT, *WRONG, *EACH, "short", "nobody", "heavy", "stated"])
}


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("uptake")
    for name, (given, _) in {**RIGHT, **WRONG}.items():
        series(folder / "in", UIDS[name], **given)
    for name, (each, _) in EACH.items():
        series(folder / "in", UIDS[name], *each)
    series(folder / "in", UIDS["short"], PatientSize=175, PatientSex="F")
    series(folder / "in", UIDS["nobody"], PatientSex="O")
    series(folder / "in", UIDS["heavy"], PatientSex="F", PatientWeight=200, PatientSize=1.5)
    own = dataset(
        RealWorldValueFirstValueMapped=0, RealWorldValueLastValueMapped=65535, LUTLabel="SUVbw",
        RealWorldValueSlope=0.25, RealWorldValueIntercept=0, LUTExplanation="x",
        MeasurementUnitsCodeSequence=[code("{SUVbw}g/ml", "UCUM")],
    )  # fmt: skip
    series(folder / "in", UIDS["stated"], Units="CNTS", RealWorldValueMappingSequence=[own])
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    return made


@pytest.fixture(scope="module")
def rows(wh: warehouse.Warehouse) -> dict[str, dict[str, Any]]:
    """The rows of `pt_suv`, by name of the series."""
    found = {row["series_key"]: row for row in wh.sql("from pt_suv").pl().to_dicts()}
    return {name: found[uid] for name, uid in UIDS.items()}


@pytest.mark.acceptance("R12")
@pytest.mark.parametrize("name", RIGHT)
def test_the_factor_by_body_weight(rows: dict[str, dict[str, Any]], name: str) -> None:
    assert rows[name]["suv_why_not"] is None
    assert rows[name]["suv_bw_factor"] == pytest.approx(RIGHT[name][1], rel=1e-4)


@pytest.mark.acceptance("R13")
@pytest.mark.parametrize("name", [*WRONG, *EACH])
def test_a_series_without_a_factor_says_why(rows: dict[str, dict[str, Any]], name: str) -> None:
    assert rows[name]["suv_bw_factor"] is None
    assert (WRONG.get(name) or EACH[name])[1] in rows[name]["suv_why_not"]


def test_voxels_are_uptake_values(wh: warehouse.Warehouse) -> None:
    volume = wh.volume(UIDS["other clock"], rescale="SUVbw")
    assert volume.unit == "{SUVbw}g/ml"
    expected = [100 * slope * DECAYED for slope in SLOPES]
    assert volume[:, 0, 0].tolist() == pytest.approx(expected, rel=1e-4)
    stack = wh.stack(UIDS["philips suv"], rescale="SUVbw")
    assert stack[1][0, 0] == pytest.approx(0.05, rel=1e-4)
    with pytest.raises(NoSingleUnit, match="several injections"):
        wh.volume(UIDS["two injections"], rescale="SUVbw")[0]


def test_which_of_several_injections_is_meant_is_not_guessed(wh: warehouse.Warehouse) -> None:
    """The view of the series says of them what that of uptake values does."""
    found = answer_of(
        wh,
        "select has_suv_attributes, uptake_time_s, uptake_why_not from pt_series where series_key = $1",
        [UIDS["two injections"]],
    )
    assert found == [(False, None, "several injections are stated")]


def test_uptake_by_lean_body_mass_and_surface(
    wh: warehouse.Warehouse, rows: dict[str, dict[str, Any]]
) -> None:
    """Of a man of 70 kg and 1.75 m: 57.8 and 57.52 kg of James, 55.28 of Janmahasatian, 1.848 m²."""
    expected = {
        "SUVbw": DECAYED,
        "SUVlbm": DECAYED * (1.10 * 70 - 120 * (70 / 175) ** 2) / 70,
        "SUVlbm(James128)": DECAYED * (1.10 * 70 - 128 * (70 / 175) ** 2) / 70,
        "SUVlbm(Janma)": DECAYED * (9270 * 70 / (6680 + 216 * 70 / 1.75**2)) / 70,
        "SUVbsa": DECAYED / 70 * 10 * 0.007184 * 70**0.425 * 175**0.725,
    }
    assert set(expected) == set(SUV)
    for name, factor in expected.items():
        assert rows["siemens"][SUV[name][0]] == pytest.approx(factor, rel=1e-4)
    volume = wh.volume(UIDS["siemens"], rescale="SUVbsa")
    assert volume.unit == "{SUVbsa}cm2/ml"
    assert volume[0, 0, 0] == pytest.approx(50 * expected["SUVbsa"], rel=1e-4)


def test_bodies_that_are_not_known_have_no_lean_mass(rows: dict[str, dict[str, Any]]) -> None:
    short, nobody, lean = rows["short"], rows["nobody"], rows["lean"]
    assert short["suv_bw_factor"] == pytest.approx(DECAYED)
    assert short["suv_bsa_factor"] is None
    assert "no height in metres" in short["body_why_not"]
    assert nobody["suv_lbm_factor"] is None
    assert "neither M nor F" in nobody["body_why_not"]
    assert nobody["suv_bsa_factor"] is not None
    assert (lean["suv_lbm_factor"], lean["suv_bw_factor"]) == (1, None)


def test_a_lean_mass_below_zero_is_none(rows: dict[str, dict[str, Any]]) -> None:
    """1.07 * 200 - 148 * (200 / 150)² is -49 kg, where the formula of James does not hold."""
    heavy = rows["heavy"]
    assert heavy["suv_bw_factor"] > 0
    assert (heavy["suv_lbm_factor"], heavy["suv_lbm_james128_factor"]) == (None, None)
    assert "James" in heavy["body_why_not"]
    # Janmahasatian: 9270 W / (8780 + 244 W / H²) is 61.1 kg.
    assert heavy["suv_lbm_janma_factor"] == pytest.approx(
        heavy["suv_bw_factor"] * 9270 / (8780 + 244 * 200 / 1.5**2), rel=1e-6
    )
    assert heavy["suv_bsa_factor"] > 0


def test_what_a_header_maps_itself_counts(wh: warehouse.Warehouse) -> None:
    assert wh.volume(UIDS["stated"], rescale="SUVbw")[0, 0, 0] == 25


def test_pictures_have_the_mapping_of_the_volume(wh: warehouse.Warehouse) -> None:
    """A window is in values of the mapping, here from 0.02 to 1.02: of 0.014, 0.028 and 0.041 of the slices
    LINEAR_EXACT shows 0, 2 and 5 of 255.
    """
    volume = wh.volume(UIDS["siemens"], rescale="SUVbw")
    window = (0.52, 1)
    wanted = wh.volume(UIDS["siemens"], rescale="SUVbw", window=window)
    assert wanted[:, 0, 0].tolist() == [0, 2, 5]
    for number in range(3):
        picture = pictures.slice_picture(volume, number, window=window)
        assert np.array_equal(picture, wanted[number])
    assert set(np.unique(wanted[:])) <= set(np.unique(pictures.three_planes(volume, window=window)))


def test_uptake_values_are_asked_for_when_a_series_is_opened(wh: warehouse.Warehouse) -> None:
    volume = wh.volume(UIDS["siemens"], rescale="SUVbw")
    assert volume.with_values(Values())[0, 0, 0] == 100
    assert volume.with_values(Values(rescale="SUVbw")).unit == "{SUVbw}g/ml"
    for shown in (volume, wh.volume(UIDS["siemens"]), wh.stack(UIDS["siemens"])):
        with pytest.raises(UsageError, match="open the series with it"):
            shown.with_values(Values(rescale="SUVlbm"))


def test_the_command_writes_uptake_values(
    wh: warehouse.Warehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (["--nifti", "x.nii"], ["--npy", "x.npy", "--stack"]):
        with pytest.raises(SystemExit) as ended:
            run_command(
                ["volume", UIDS["siemens"], "--mapping", "SUVbw", options[0], str(tmp_path / options[1]),
                 *options[2:], "-w", str(wh.root)]
            )  # fmt: skip
        assert ended.value.code == 0, capsys.readouterr()
    expected = [pytest.approx(100 * slope * DECAYED, rel=1e-4) for slope in SLOPES]
    assert np.load(tmp_path / "x.npy")[:, 0, 0].tolist() == expected


def test_nifti_has_uptake_values(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    from warehouse.pixels import files

    path = tmp_path / "x.nii"
    files.write_nifti(wh.volume(UIDS["siemens"], rescale="SUVbw"), path)
    found = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    assert sorted(np.unique(found)) == pytest.approx(
        [100 * slope * DECAYED for slope in SLOPES], rel=1e-4
    )
