"""Makes ``layout-N.zip``, a small warehouse that later versions must be able to read.

Run once when a layout is new, as ``python -m tests.golden.make``, and never again for the same one.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import zipfile
from pathlib import Path

import pydicom.data

from tests.dicom_files import write
from tests.vendor_payloads import CSA, add_private, csa
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store import layout
from warehouse.store.compact import compact
from warehouse.store.vacuum import vacuum

PLACE = Path("/tmp/dicom-warehouse-golden")
"""Its paths stand in the table ``files``, so they must say nothing of the machine."""

TARGET = Path(__file__).parent / f"layout-{layout.LAYOUT_VERSION}.zip"


def main() -> None:
    shutil.rmtree(PLACE, ignore_errors=True)
    source, root = PLACE / "archive", PLACE / "w"
    source.mkdir(parents=True)
    samples = Path(pydicom.data.__path__[0]) / "test_files"
    for name in ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm"):
        shutil.copyfile(samples / name, source / name)
    shutil.copyfile(samples / "CT_small.dcm", source / "copy.dcm")
    (source / "notes.txt").write_text("no DICOM\n")
    made = pydicom.dcmread(samples / "MR_small.dcm")
    made.SOPInstanceUID = "1.2.3"
    header = csa([("B_value", "IS", ["1000"]), ("NumberOfImagesInMosaic", "US", ["8"])])
    add_private(made, CSA, 0x29, 0x11, x10=("OB", header))
    write(source / "vendor", made)
    for path in source.iterdir():
        os.utime(path, (1_750_000_000, 1_750_000_000))
    # Two batches in merged parts, one in parts of its own, a file that was read again.
    settings = IngestSettings(mode=Mode.FULL, workers=1, batch_files=3)
    ingest(root, [source / name for name in ("CT_small.dcm", "copy.dcm", "vendor")], settings)
    ingest(root, [source / "MR_small.dcm"], settings)
    compact(root)
    os.utime(source / "MR_small.dcm", (1_750_000_001, 1_750_000_001))
    ingest(root, [source], settings)
    vacuum(root, dt.timedelta(0), delete=True)
    with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(root))
    shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()
