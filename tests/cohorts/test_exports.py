"""What is exported equals the members, carries where it came from, and can be verified."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warehouse
from tests.cohorts.conftest import make
from tests.command_line import run
from tests.programs import needed
from warehouse.cohorts.provenance import verify
from warehouse.errors import ExportFailed, SourceNotFound, TargetExists, UsageError

CHECKOUT = Path(__file__).parents[2]
FOURTEEN = [
    "ID", "EchoTime", "RepetitionTime", "InversionTime", "PixelSpacing", "SliceThickness",
    "StudyDescription", "SequenceName", "PulseSequenceName", "StudyTime", "StudyDate",
    "Manufacturer", "ScanningSequence", "SequenceVariant",
]  # fmt: skip
MEMBERS = [f"1.{patient}.1.{number}" for patient in (1, 2, 3) for number in (1, 2)]


@pytest.fixture(scope="module")
def ran(template: Path, tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """A warehouse with one run of six instances."""
    root = tmp_path_factory.mktemp("ran") / "w"
    shutil.copytree(template / "w", root)
    wh = warehouse.open(root, create=True)
    wh.cohort("ct_thin_slice", max_slice_mm=3)
    return wh


def export(wh: warehouse.Warehouse, target: Path, form: str, **options: object) -> Path:
    wh.export("ct_thin_slice", target, form, **options)
    return target


def about(target: Path) -> dict:
    return json.loads(target.with_name(f"{target.name}.cohort.json").read_text())


def test_csv(ran: warehouse.Warehouse, tmp_path: Path) -> None:
    target = export(ran, tmp_path / "a.csv", "csv")
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
    assert [row["series_key"] for row in rows] == ["1.1.1", "1.2.1", "1.3.1"]
    assert [row["SliceThickness"] for row in rows] == ["1.0", "2.0", "3.0"]
    assert about(target)["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()


@pytest.mark.acceptance("D67")
def test_the_fourteen_columns(ran: warehouse.Warehouse, tmp_path: Path) -> None:
    target = export(ran, tmp_path / "a.csv", "csv", preset="series_csv", spreadsheet=True)
    assert target.read_bytes()[:3] == b"\xef\xbb\xbf"
    rows = list(csv.reader(io.StringIO(target.read_text(encoding="utf-8-sig"))))
    assert rows[0] == FOURTEEN
    assert [row[0] for row in rows[1:]] == ["1.1.1", "1.2.1", "1.3.1"]


COUNTS = {"patients": 3, "studies": 3, "series": 3, "instances": 6}


@pytest.mark.acceptance("D67")
@pytest.mark.parametrize(
    "entities",
    [
        ["instances"],
        pytest.param(
            [*COUNTS], marks=pytest.mark.long("test_rows_of_every_entity_in_every_format")
        ),
    ],
)
def test_rows_of_every_entity_in_every_format(
    ran: warehouse.Warehouse, tmp_path: Path, entities: list[str]
) -> None:
    for rows in entities:
        frame = ran.sql(f"from {rows}").pl()
        expected = [
            row for row in frame.sort(frame.columns[0]).to_dicts()
            if str(row["PatientID"]) in {"P1", "P2", "P3"}
        ]  # fmt: skip
        assert len(expected) == COUNTS[rows]
        target = export(ran, tmp_path / f"{rows}.parquet", "parquet", rows=rows)
        read = pl.read_parquet(target)
        assert sorted(map(repr, read.to_dicts())) == sorted(map(repr, expected))
    lines = export(ran, tmp_path / "a.jsonl", "jsonl").read_text().splitlines()
    assert [json.loads(line)["series_key"] for line in lines] == ["1.1.1", "1.2.1", "1.3.1"]
    arrow = pa.ipc.open_file(export(ran, tmp_path / "a.arrow", "arrow")).read_all()
    assert arrow["series_key"].to_pylist() == ["1.1.1", "1.2.1", "1.3.1"]


def test_formats_with_a_place_for_it_say_where_they_came_from(
    ran: warehouse.Warehouse, tmp_path: Path
) -> None:
    parquet = export(ran, tmp_path / "a.parquet", "parquet")
    arrow = export(ran, tmp_path / "a.arrow", "arrow")
    files = export(ran, tmp_path / "a.zip", "zip")
    stated = [
        pq.read_schema(parquet).metadata or pq.read_metadata(parquet).metadata,
        pa.ipc.open_file(arrow).schema.metadata,
    ]
    run = about(parquet)
    for metadata in stated:
        inside = json.loads(metadata[b"dicom_warehouse_cohort"])
        assert inside["digest"] == run["digest"]
        assert inside["cohort"] == "ct_thin_slice"
        assert inside["run_warehouse"]["version"] == 1
        assert set(inside) <= set(run)
    with zipfile.ZipFile(files) as archive:
        assert json.loads(archive.read("cohort.json"))["digest"] == run["digest"]


def test_the_digest_is_the_sha256_of_the_uid_list(ran: warehouse.Warehouse, tmp_path: Path) -> None:
    target = export(ran, tmp_path / "uids.txt", "uids")
    assert target.read_text().splitlines() == MEMBERS
    printed = subprocess.run(
        ["sha256sum", target], capture_output=True, text=True, check=True
    ).stdout
    assert printed.split()[0] == about(target)["digest"]


@pytest.mark.acceptance("D68")
def test_zip_is_read_by_another_program(
    ran: warehouse.Warehouse, tmp_path: Path, template: Path
) -> None:
    target = export(ran, tmp_path / "a.zip", "zip")
    done = subprocess.run(
        [needed("unzip"), "-q", target, "-d", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed = list(csv.DictReader(io.StringIO((tmp_path / "out" / "manifest.csv").read_text())))
    assert [row["instance_key"] for row in listed] == MEMBERS
    for row in listed:
        _, patient, _, number = row["instance_key"].split(".")
        source = (template / "in" / f"p{patient}_{number}.dcm").read_bytes()
        assert (tmp_path / "out" / row["name"]).read_bytes() == source
        assert row["sha256"] == hashlib.sha256(source).hexdigest()
        assert not Path(row["name"]).is_absolute()


def test_manifest_is_run_by_another_program(
    ran: warehouse.Warehouse, tmp_path: Path, template: Path
) -> None:
    """Its lines are commands of a shell too, if the folders exist."""
    target = export(ran, tmp_path / "manifest", "s5cmd")
    lines = target.read_text().splitlines()
    for line in lines:
        (tmp_path / line.split()[-1]).parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["sh", "-e", target], cwd=tmp_path, check=True)
    copied = {path.name: path.read_bytes() for path in tmp_path.rglob("*.dcm")}
    assert sorted(copied) == [f"{key}.dcm" for key in MEMBERS]
    assert copied["1.2.1.1.dcm"] == (template / "in" / "p2_1.dcm").read_bytes()
    bucket = export(ran, tmp_path / "s3", "s5cmd", source=f"{template}/in=s3://bucket/x")
    assert bucket.read_text().splitlines()[0].startswith("cp s3://bucket/x/p1_1.dcm P1~")
    with pytest.raises(ExportFailed, match="is not in /elsewhere"):
        export(ran, tmp_path / "no", "s5cmd", source="/elsewhere=s3://bucket")


@pytest.mark.acceptance("D11")
@pytest.mark.parametrize("form", ["copy", "link"])
def test_folders(ran: warehouse.Warehouse, tmp_path: Path, template: Path, form: str) -> None:
    target = export(
        ran, tmp_path / "out", form, template="{Modality}/{InstanceNumber}/{SOPInstanceUID}"
    )
    path = target / next(target.glob("CT~*")).name / "1" / "1.1.1.1"
    assert path.read_bytes() == (template / "in" / "p1_1.dcm").read_bytes()
    assert path.is_symlink() == (form == "link")
    assert verify(target).problems == ()
    assert verify(target).files == 6


# -- verify ---------------------------------------------------------------------------------------


def test_verify_finds_every_change_of_a_folder(ran: warehouse.Warehouse, tmp_path: Path) -> None:
    target = export(ran, tmp_path / "out", "copy", template="{SOPInstanceUID}")
    (target / "1.1.1.1").write_bytes((target / "1.1.1.2").read_bytes())
    (target / "1.2.1.1").unlink()
    (target / "new").write_text("x")
    (target / "linked").symlink_to(tmp_path)
    noted = target / "cohort.json"
    noted.write_text(noted.read_text().replace(verify(target).digest, "0" * 64))
    assert sorted(verify(target).problems) == [
        "1.1.1.1: other content than was written", "1.2.1.1: missing or unreadable",
        "cohort.json: another digest than that of the members", "linked: was not exported",
        "new: was not exported",
    ]  # fmt: skip
    manifest = target / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("1.3.1.1,", "1.9.1.1,"))
    assert verify(target).problems == (
        "manifest.csv: missing or changed, so nothing can be compared",
    )


@pytest.mark.parametrize("form", ["csv", "parquet", "uids", "zip"])
def test_verify_finds_one_flipped_bit(ran: warehouse.Warehouse, tmp_path: Path, form: str) -> None:
    target = export(ran, tmp_path / f"a.{form}", form)
    assert verify(target).problems == ()
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    assert verify(target).problems == (f"a.{form}: other content than was written",)


def test_verify_needs_an_export(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        verify(tmp_path / "nothing")
    (tmp_path / "a.csv").write_text("x")
    for beside in (None, "[]", "{}", "nothing"):
        if beside is not None:
            (tmp_path / "a.csv.cohort.json").write_text(beside)
        with pytest.raises(UsageError, match="not an export of a cohort"):
            verify(tmp_path / "a.csv")


# -- what must not happen -------------------------------------------------------------------------


def test_a_target_is_never_replaced(ran: warehouse.Warehouse, tmp_path: Path) -> None:
    for form in ("csv", "zip", "copy"):
        target = tmp_path / form
        target.write_text("mine")
        with pytest.raises(TargetExists):
            export(ran, target, form)
        assert target.read_text() == "mine"
        assert not (tmp_path / f"{form}.cohort.json").exists()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(TargetExists):
        export(ran, tmp_path / "dangling", "csv")
    with pytest.raises(UsageError, match="no folder"):
        export(ran, tmp_path / "no" / "a.csv", "csv")


@pytest.mark.acceptance("D67")
def test_two_exports_at_a_time_are_equal(ran: warehouse.Warehouse, tmp_path: Path) -> None:
    for form in ("parquet", "zip"):
        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(lambda n, f=form: export(ran, tmp_path / f"{n}.{f}", f), "ab")
        assert one.read_bytes() == other.read_bytes()


FULL = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
import warehouse
from warehouse.errors import ExportFailed
wh = warehouse.open(sys.argv[2], create=True)
for form in sys.argv[4:]:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, -1))
    # Rows of series are no others to write, and take longest to ask for.
    rows = {"rows": "instances"} if form in ("csv", "parquet", "arrow", "jsonl") else {}
    try:
        wh.export("ct_thin_slice", sys.argv[3] + "/full." + form, form, **rows)
    except ExportFailed as why:
        print(form, "ExportFailed", why)
"""


def test_a_full_disk_leaves_nothing(ran: warehouse.Warehouse, tmp_path: Path) -> None:
    """By a limit on the size of files, which this process has during the exports."""
    resource = pytest.importorskip("resource")
    out = tmp_path / "out"
    out.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        for form, rows in (("parquet", {"rows": "instances"}), ("zip", {})):
            with pytest.raises(ExportFailed):
                ran.export("ct_thin_slice", out / f"full.{form}", form, **rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert os.listdir(out) == []


@pytest.mark.long("test_a_full_disk_leaves_nothing")
def test_a_full_disk_leaves_nothing_behind(ran: warehouse.Warehouse, tmp_path: Path) -> None:
    forms = ["csv", "parquet", "arrow", "jsonl", "uids", "s5cmd", "zip", "copy"]
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(CHECKOUT), str(ran.root), str(tmp_path / "out"), *forms],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        [f, "ExportFailed"] for f in forms
    ]
    assert os.listdir(tmp_path / "out") == []


def test_text_that_is_a_formula(tmp_path: Path) -> None:
    make(
        tmp_path / "in",
        1,
        SeriesDescription='=HYPERLINK("http://x","y")',
        ProtocolName="+1",
        SoftwareVersions="@a",
        StudyDescription="\n=1+1",
        StationName=" =2+2",
    )
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    wh.cohort("ct_thin_slice")

    def row(name: str, *, spreadsheet: bool) -> dict[str, str]:
        target = export(wh, tmp_path / name, "csv", spreadsheet=spreadsheet)
        return next(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8-sig"))))

    plain, guarded = row("plain.csv", spreadsheet=False), row("guarded.csv", spreadsheet=True)
    assert plain["SeriesDescription"] == '=HYPERLINK("http://x","y")', "as stored"
    assert guarded["SeriesDescription"] == '\'=HYPERLINK("http://x","y")'
    assert guarded["ProtocolName"] == "'+1"
    assert not any(cell.strip().startswith(("=", "+", "@")) for cell in guarded.values())


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    make(tmp_path / "in", 1, 1, DiffusionBValue=float("nan"))
    make(tmp_path / "in", 1, 2, DiffusionBValue=float("-inf"), ImagePositionPatient=["1", "2", "3"])
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    wh.cohort("ct_thin_slice")
    target = export(wh, tmp_path / "a.jsonl", "jsonl", rows="instances")
    stated = 'DiffusionBValue, [DiffusionBValue, 1] as listed, ImagePositionPatient, 1 as "a""b"'
    asked = f"select {stated} from instances order by InstanceNumber"
    done = run("sql", asked, "-w", wh.root, "--format", "json")
    assert done.returncode == 0, done.stderr
    exported = [
        json.loads(line, parse_constant=pytest.fail) for line in target.read_text().splitlines()
    ]
    printed = json.loads(done.stdout, parse_constant=pytest.fail)
    for rows in (exported, printed):
        assert [row["DiffusionBValue"] for row in rows] == [None, None]
        assert [row["ImagePositionPatient"] for row in rows] == [None, [1.0, 2.0, 3.0]]
    assert [row["listed"] for row in printed] == [[None, 1.0]] * 2
    assert [row['a"b'] for row in printed] == [1, 1]


@pytest.mark.acceptance("D11")
def test_uids_with_path_characters_stay_inside(tmp_path: Path) -> None:
    make(tmp_path / "in", 1, SOPInstanceUID="../../../up", SeriesInstanceUID="/etc", PatientID="..")
    make(tmp_path / "in", 2, SOPInstanceUID="a/b", PatientID="../x")
    make(tmp_path / "in", 3, SOPInstanceUID="manifest.csv")
    make(tmp_path / "in", 4, SOPInstanceUID="cohort.json")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    wh.cohort("ct_thin_slice", max_slice_mm=9)
    with zipfile.ZipFile(
        export(wh, tmp_path / "a.zip", "zip", template="{SOPInstanceUID}")
    ) as archive:
        names = archive.namelist()
    assert len(set(names)) == 6
    assert not any(part in {"", "..", "."} for name in names for part in name.split("/"))
    target = export(wh, tmp_path / "out", "copy")
    assert len(list(target.rglob("*.dcm"))) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.zip",
        "a.zip.cohort.json",
        "in",
        "out",
        "w",
    ]


@pytest.mark.parametrize(
    "forms",
    [
        ["copy"],
        pytest.param(
            ["zip", "copy", "link"],
            marks=pytest.mark.long("test_a_source_that_has_changed_is_not_exported"),
        ),
    ],
)
def test_a_source_that_has_changed_is_not_exported(
    changing: warehouse.Warehouse, tmp_path: Path, forms: list[str]
) -> None:
    changing.cohort("ct_thin_slice", max_slice_mm=3)
    path = tmp_path / "in" / "p2_1.dcm"
    before = path.stat()
    path.write_bytes(path.read_bytes() + b"more")
    for form in forms:
        with pytest.raises(
            ExportFailed, match=r"p2_1\.dcm: its source has changed since it was ingested"
        ):
            export(changing, tmp_path / "out", form)
    path.write_bytes(b"x" * before.st_size)
    with pytest.raises(ExportFailed, match="has changed"):
        export(changing, tmp_path / "out", "zip")
    path.unlink()
    with pytest.raises(ExportFailed, match="cannot be read"):
        export(changing, tmp_path / "out", "zip")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "w"]


def test_members_inside_archives(template: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for number in (1, 2):
            archive.write(template / "in" / f"p1_{number}.dcm", f"deep/p{number}!.dcm")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in.zip", workers=1)
    wh.cohort("ct_thin_slice")
    target = export(wh, tmp_path / "out", "copy", template="{SOPInstanceUID}.dcm")
    assert (target / "1.1.1.2.dcm").read_bytes() == (template / "in" / "p1_2.dcm").read_bytes()
    for form in ("link", "s5cmd"):
        with pytest.raises(ExportFailed, match="member of an archive"):
            export(wh, tmp_path / form, form)


def test_a_run_whose_members_have_gone(changing: warehouse.Warehouse, tmp_path: Path) -> None:
    run = changing.cohort("ct_thin_slice", max_slice_mm=3)
    make(tmp_path / "in", 2, 1, SOPInstanceUID="1.2.1.9")
    changing.ingest(tmp_path / "in", workers=1)
    with pytest.raises(ExportFailed, match="1 of its instances are no longer in the warehouse"):
        changing.export(run, tmp_path / "a.csv", "csv")


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("xml", {}), ("csv", {"rows": "elements"}), ("csv", {"preset": "mine"}),
        ("parquet", {"spreadsheet": True}), ("zip", {"template": "{PatientID}"}), ("s5cmd", {"source": "x"}),
    ],
)  # fmt: skip
def test_wrong_calls(ran: warehouse.Warehouse, tmp_path: Path, form: str, options: dict) -> None:
    with pytest.raises(UsageError):
        export(ran, tmp_path / "a", form, **options)
    assert os.listdir(tmp_path) == []
