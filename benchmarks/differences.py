"""Why a value of dcm2niix differs from ours: statements, each with a condition on the series it is in.

In: a ``Difference``. Out: the statement that explains it, or None. An explanation counts only for
its fields and only where its condition holds in the headers of that series, so that a value that
is merely missing is never explained.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bids_validator_deno
import numpy as np

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    import pydicom

DCM2NIIX = "https://github.com/rordenlab/dcm2niix/blob/master"
BIDS = "https://bids-specification.readthedocs.io/en/v1.11.0/glossary.html"


@dataclass(frozen=True)
class Difference:
    """A field of a series, and what its headers say."""

    name: str
    wanted: Any
    mine: Any
    maker: str
    header: pydicom.Dataset
    """Of the first file, without pixels."""
    told: dict[str, Any]
    """The sidecar of dcm2niix."""
    fields: dict[str, Any]
    """Ours."""
    protocol: dict[str, str] = field(default_factory=dict)
    """First values of the maker's protocol, as the view vendor_elements has them."""
    volumes: int = 1
    positions: Counter[tuple[float, ...]] | None = None
    """How many images lie at each place; of files without one there is ()."""
    printed: str = ""
    """What dcm2niix printed."""
    is_floating: bool = False
    """Voxels are those of dcm2niix by the formula of Philips, and equal with its option -p n."""

    def stated(self, group: int, element: int) -> list[Any]:
        """Return the values of an element wherever it stands in the data set."""
        found = [e.value for e in self.header.iterall() if e.tag == (group, element)]
        return [value for value in found if value not in (None, "", [])]

    @property
    def image_type(self) -> list[str]:
        return list(self.header.get("ImageType", []))


@dataclass(frozen=True)
class Explanation:
    """Fields that it is for, when it holds, and what it says."""

    names: frozenset[str]
    holds: Callable[[Difference], bool]
    statement: str


@functools.cache
def bids_fields() -> frozenset[str]:
    """Return the names of metadata in the schema that the official validator carries."""
    source = Path(bids_validator_deno.__file__).with_name("bids-validator.js").read_text()
    return frozenset(re.findall(r"\b(\w+): \{\s*name: \"\1\",\s*display_name", source))


def why(difference: Difference) -> str | None:
    """Return the statement that explains a difference."""
    for one in EXPLANATIONS:
        if difference.name in one.names and one.holds(difference):
            return one.statement
    return None


def _is_of_other_words(d: Difference) -> bool:
    words = "_".join(d.mine or []).split("_")
    more = d.wanted[len(words) :]
    is_prefix = d.mine == d.image_type and d.wanted[: len(words)] == words
    return is_prefix and len(more) == 1 and more[0] in {"MAGNITUDE", "PHASE", "REAL", "IMAGINARY"}


def _is_of_series(d: Difference) -> bool:
    stated = d.stated(0x0018, 0x9073) + [us / 1e6 for us in d.stated(0x0019, 0x105A)]
    is_stated = any(np.isclose(float(value), d.wanted, rtol=1e-4) for value in stated)
    return is_stated and d.volumes > 1 and d.wanted >= d.volumes * d.told["RepetitionTime"] * 0.99


_SEQUENCE_NAMES = {
    "EP": "EPI",
    "GR": "Gradient Echo",
    "SE": "Spin Echo",
    "IR": "Inversion Recovery",
}


def _is_concluded(d: Difference) -> bool:
    codes = d.told.get("ScanningSequence", "").split("\\")
    named = [name for code, name in _SEQUENCE_NAMES.items() if code in codes]
    rest = d.wanted
    more = ["Multiband"] if d.told.get("MultibandAccelerationFactor", 1) > 1 else []
    more += ["Spoiled"] if "SP" in d.told.get("SequenceVariant", "").split("\\") else []
    for word in [*_SEQUENCE_NAMES.values(), *more]:
        rest = rest.replace(word, "")
    return bool(named) and all(name in d.wanted for name in named) and not rest.strip()


def _is_spread(d: Difference) -> bool:
    count = len(d.wanted)
    even = np.arange(count) * d.told["RepetitionTime"] / count
    has_times = any(float(t) != 0 for t in d.stated(0x0018, 0x1060) + d.stated(0x0021, 0x105E))
    is_even = np.allclose(sorted(d.wanted), even, rtol=0, atol=1e-3)
    return d.maker == "GE" and "SLICEORDER" in d.protocol and is_even and not has_times


def _is_private_name(d: Difference) -> bool:
    private = {
        "GE": d.stated(0x0019, 0x109C),
        "Philips": d.stated(0x2001, 0x1020),
    }.get(d.maker, [])
    return not d.header.get("SequenceName") and d.wanted in private


def _has_one_distance(d: Difference) -> bool:
    element = {"GE": (0x0043, 0x10B2), "Philips": (0x2005, 0x143C)}.get(d.maker)
    return element is not None and d.wanted[:2] == [0, 0] and bool(d.stated(*element))


def _lacks_images(d: Difference) -> bool:
    return d.positions is not None and () not in d.positions and len(set(d.positions.values())) > 1


NOT_OF_BIDS = frozenset({
    "BaseResolution", "CoilString", "ConsistencyInfo", "DerivedVendorReportedEchoSpacing",
    "FrequencyEncodingSteps", "ImageOrientationText", "ImageTypeText", "InternalPulseSequenceName",
    "NumberOfKSpaceTrajectories", "PhaseEncodingPolarityGE", "PhaseEncodingStepsOutOfPlane",
    "PhaseResolution", "PhilipsRescaleIntercept", "PhilipsRescaleSlope", "PhilipsScaleSlope",
    "PrescanReuseString", "RawImage", "RefLinesPE", "ShimSetting", "TxRefAmp",
    "UsePhilipsFloatNotDisplayScaling", "WaterFatShift",
})  # fmt: skip
"""What the export leaves to the views: dcm2niix has names of its own for it."""

EXPLANATIONS = [
    Explanation(
        NOT_OF_BIDS,
        lambda d: d.mine is None and d.name not in bids_fields(),
        f"a name of dcm2niix, which BIDS does not have ({BIDS}; looked up in the schema of the validator)",
    ),
    Explanation(
        frozenset({"ImageType"}),
        _is_of_other_words,
        "ours is Image Type (0008,0008) as stored; dcm2niix splits it at _ and appends what component "
        f"the image is: {DCM2NIIX}/console/nii_dicom.cpp",
    ),
    Explanation(
        frozenset({"InstitutionalDepartmentName"}),
        lambda d: d.wanted == "None" and not d.stated(0x0008, 0x1040),
        "(0008,1040) is not in the file; dcm2niix writes the word None",
    ),
    Explanation(
        frozenset({"ProtocolName"}),
        lambda d: (
            not d.stated(0x0018, 0x1030)
            and d.wanted == (d.header.get("SeriesDescription") or d.header.get("SequenceName"))
        ),
        "(0018,1030) is not in the file; dcm2niix writes SeriesDescription, else SequenceName: "
        f"{DCM2NIIX}/console/nii_dicom.cpp (protocolName)",
    ),
    Explanation(
        frozenset({"ProcedureStepDescription"}),
        lambda d: not d.stated(0x0040, 0x0254) and d.wanted == d.protocol.get("PSEQ"),
        "(0040,0254) is not in the file; dcm2niix writes the pulse sequence of GE's protocol (PSEQ)",
    ),
    Explanation(
        frozenset({"SequenceName"}),
        _is_private_name,
        f"BIDS: Sequence Name (0018,0024), which is not in the file ({BIDS}#objects.metadata.SequenceName); "
        "dcm2niix writes a private element, (0019,xx9C) of GE or (2001,xx20) of Philips",
    ),
    Explanation(
        frozenset({"PulseSequenceType"}),
        _is_concluded,
        "no attribute: dcm2niix concludes it from ScanningSequence, SequenceVariant and the multiband factor, "
        f"which are written, and from names of sequences: {DCM2NIIX}/console/nii_dicom_batch.cpp",
    ),
    Explanation(
        frozenset({"AcquisitionDuration"}),
        _is_of_series,
        "BIDS: duration of a volume "
        f"({BIDS}#objects.metadata.AcquisitionDuration); the file states that of all its volumes",
    ),
    Explanation(
        frozenset({"TablePosition"}),
        _has_one_distance,
        f"BIDS: three distances ({BIDS}#objects.metadata.TablePosition); GE (0043,xxB2) and Philips "
        "(2005,xx3C) state one, and dcm2niix writes 0 for two of them",
    ),
    Explanation(
        frozenset({"MatrixCoilMode"}),
        lambda d: (
            d.wanted == "SENSE"
            and d.protocol.get("sPat.ucPATMode") in {"1", "0x1"}
            and d.protocol.get("sPat.lAccelFactPE") == "1"
        ),
        "nothing is accelerated (sPat.lAccelFactPE = 1, sPat.ucPATMode = 1); dcm2niix reads 1 as SENSE: "
        f"{DCM2NIIX}/console/nii_dicom_batch.cpp (1=SENSE, 2=GRAPPA, 32=SMS??)",
    ),
    Explanation(
        frozenset({"NonlinearGradientCorrection"}),
        lambda d: d.maker != "Siemens" and d.wanted is False and "ND" in d.image_type,
        "ND in Image Type means not distortion corrected in images of Siemens, and the file does not "
        "say that it is one; dcm2niix reads it whoever the maker is",
    ),
    Explanation(
        frozenset({"SliceTiming"}),
        _is_spread,
        "no time of a slice is stated; dcm2niix spreads the slices evenly over RepetitionTime in the order of "
        f"GE's protocol (SLICEORDER): {DCM2NIIX}/GE/README.md#slice-timing",
    ),
    Explanation(
        frozenset({"PhaseEncodingDirection"}),
        lambda d: (
            d.maker == "GE"
            and d.mine is None
            and not {"LINEAR", "REVERSE_LINEAR"} & set(d.stated(0x0018, 0x9034))
            and bool(d.stated(0x0043, 0x102A))
            and d.told.get("PhaseEncodingPolarityGE") is not None
        ),
        "(0018,9034) does not state the sign; dcm2niix takes it from a binary structure (0043,102A) that "
        f"changes with GE's software: {DCM2NIIX}/GE/README.md#user-define-data-ge-0043102a",
    ),
    Explanation(
        frozenset({"bval"}),
        lambda d: (
            d.maker == "GE"
            and d.mine is None
            and not d.stated(0x0018, 0x1312)
            and "Unable to determine DTI gradients" in d.printed
        ),
        "directions are along gradient axes, and how these lie in the patient is not stated ((0018,1312) is "
        "not in the file): dcm2niix warns that it cannot tell and writes them all the same; b-values are "
        "in diffusion_frames and compared there",
    ),
    Explanation(
        frozenset({"voxels, scaled"}),
        lambda d: d.maker == "Philips" and d.is_floating and bool(d.stated(0x2005, 0x100E)),
        "stored values are equal; ours are displayed values (Rescale Slope RS, PS3.3 C.11.1.1.2) as those of "
        "dcm2niix -p n; without it dcm2niix writes FP = DV / (RS * SS), SS of (2005,xx0E): "
        f"{DCM2NIIX}/Philips/README.md",
    ),
    Explanation(
        frozenset({"volume"}),
        _lacks_images,
        "images are missing: places have different numbers of them. dcm2niix stacks the files by their number "
        "all the same, with slices of different places in one; we refuse (weightings are compared)",
    ),
    Explanation(
        frozenset({"volume"}),
        lambda d: (
            d.maker == "UIH"
            and "VFRAME" in d.image_type
            and not d.header.get("ImagePositionPatient")
            and bool(d.stated(0x0065, 0x1051))
        ),
        "an image of MR Image Storage without Image Position (Patient), which PS3.3 C.7.6.2 asks for: slices lie "
        f"in a grid that a private sequence describes ({DCM2NIIX}/UIH/README.md); we refuse it (weightings are "
        "compared)",
    ),
]  # fmt: skip
