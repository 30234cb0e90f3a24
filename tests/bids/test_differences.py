"""An explanation of `benchmarks/differences.py` counts only where its condition holds in the series."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from tests.dicom_files import dataset
from tests.vendor_payloads import add_private

pytest.importorskip("bids_validator_deno")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from differences import EXPLANATIONS, NOT_OF_BIDS, Difference, bids_fields, why  # noqa: E402

ORIGINAL = ["ORIGINAL", "PRIMARY", "M_FFE"]


def with_private(creator: str, group: int, **values: object) -> Dataset:
    made = dataset()
    add_private(made, creator, group, 0x10, **values)
    return made


def case(name: str, wanted: Any, mine: Any = None, maker: str = "GE", **more: Any) -> Difference:
    return Difference(
        name, wanted, mine, maker, **{"header": dataset(), "told": {}, "fields": {}, **more}
    )


TIMES = {"RepetitionTime": 2.0}
UIH = with_private("Image Private Header", 0x65, x51=("SQ", [dataset()]))
UIH.ImageType = ["ORIGINAL", "PRIMARY", "M", "VFRAME"]
SENSE = {"sPat.ucPATMode": "0x1", "sPat.lAccelFactPE": "1"}
UNKNOWN_POLARITY = {"header": with_private("GEMS_PARM_01", 0x43, x2A=("OB", b"x")),
                    "told": {"PhaseEncodingPolarityGE": "Flipped"}}  # fmt: skip
HOLDS = [
    (case("TxRefAmp", 1.0), {"mine": 2.0}),
    (case("ImageType", ["ORIGINAL", "PRIMARY", "M", "FFE", "MAGNITUDE"], ORIGINAL, header=dataset(ImageType=ORIGINAL)),
     {"wanted": ["ORIGINAL", "PRIMARY", "P", "FFE", "MAGNITUDE"]}),
    (case("InstitutionalDepartmentName", "None"), {"header": dataset(InstitutionalDepartmentName="None")}),
    (case("ProtocolName", "x", header=dataset(SequenceName="x")), {"header": dataset(SequenceName="x", ProtocolName="x")}),
    (case("ProcedureStepDescription", "Gradient Echo", protocol={"PSEQ": "Gradient Echo"}), {"protocol": {}}),
    (case("SequenceName", "epiRT", header=with_private("GEMS_ACQU_01", 0x19, x9C=("LO", "epiRT"))), {"wanted": "other"}),
    (case("PulseSequenceType", "Multiband Gradient Echo EPI", told={"ScanningSequence": "EP\\GR", "MultibandAccelerationFactor": 2}),
     {"told": {"ScanningSequence": "EP\\GR"}}),
    (case("AcquisitionDuration", 20, told=TIMES, volumes=10, header=dataset(AcquisitionDuration=20.0)), {"volumes": 1}),
    (case("TablePosition", [0, 0, -17.3], header=with_private("GEMS_PARM_01", 0x43, xB2=("LO", ["1", "2", "-17.3"]))),
     {"wanted": [0, 3, -17.3]}),
    (case("MatrixCoilMode", "SENSE", maker="Siemens", protocol=SENSE), {"protocol": {**SENSE, "sPat.lAccelFactPE": "2"}}),
    (case("NonlinearGradientCorrection", False, header=dataset(ImageType=["ORIGINAL", "ND"])), {"maker": "Siemens"}),
    (case("SliceTiming", [0, 1.0, 0.5, 1.5], told=TIMES, protocol={"SLICEORDER": "1"}), {"header": dataset(TriggerTime=500)}),
    (case("PhaseEncodingDirection", "j-", **UNKNOWN_POLARITY), {"header": dataset(RectilinearPhaseEncodeReordering="LINEAR")}),
    (case("bval", [0, 1000], printed="Unable to determine DTI gradients"), {"header": dataset(InPlanePhaseEncodingDirection="ROW")}),
    (case("voxels, scaled", 1, 1, "Philips", is_floating=True, header=with_private("Philips MR Imaging DD 001", 0x2005, x0E=("FL", 1))),
     {"is_floating": False}),
    (case("volume", None, positions=Counter({(0.0,): 2, (1.0,): 1})), {"positions": Counter({(0.0,): 2, (1.0,): 2})}),
    (case("volume", None, maker="UIH", header=UIH), {"maker": "Siemens"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "otherwise"), HOLDS, ids=lambda one: getattr(one, "name", None)
)
def test_an_explanation_needs_its_condition(
    difference: Difference, otherwise: dict[str, Any]
) -> None:
    assert why(difference)
    assert why(replace(difference, **otherwise)) is None


def test_every_explanation_is_tried_above() -> None:
    tried = {why(difference) for difference, _ in HOLDS}
    assert tried == {one.statement for one in EXPLANATIONS}


def test_names_of_dcm2niix_alone_are_none_of_bids() -> None:
    assert {"RepetitionTime", "TablePosition", "MatrixCoilMode"} <= bids_fields()
    assert not NOT_OF_BIDS & bids_fields()


@pytest.mark.slow
def test_all_of_the_corpus_is_equal_or_explained() -> None:
    if not os.environ.get("DICOM_CORPUS"):
        pytest.skip("DICOM_CORPUS names no folder")
    script = BENCHMARKS / "against_dcm2niix.py"
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
