"""What lies below /input, and what is taken from /output: the folder of a program nobody knows."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import warehouse
from tests.algorithms.conftest import CT, DX, function, put_volume
from tests.dicom_files import image, write
from warehouse.algorithms import jobs, output_folder
from warehouse.algorithms.archives import model_members, unpack
from warehouse.algorithms.cases import require_complete
from warehouse.algorithms.input_folder import InputRefused, invocation, write_inputs
from warehouse.algorithms.jobs import Case, Input, spec_of
from warehouse.algorithms.mha import read_geometry, write_array
from warehouse.algorithms.output_folder import collected
from warehouse.algorithms.registry import find_algorithm, known_algorithms
from warehouse.algorithms.tasks import Done, Task, tasks_of
from warehouse.algorithms.unzip import unzip
from warehouse.catalog.connect import open_catalog
from warehouse.components.interfaces import Interface, known_interfaces
from warehouse.errors import ArchiveRefused, ComponentError, OutputRefused, ValueRefused


def task(
    wh: warehouse.Warehouse, interface: str, *inputs: Input, series: str | None = None
) -> Task:
    wh.algorithms.create("it", interface, function=function("by_age"))
    algorithm = find_algorithm(wh.root, "it")
    spec = spec_of(algorithm, Case(algorithm.interfaces[0], inputs, series))
    jobs.add_jobs(wh.root, [spec])
    wh.refresh()
    (made,) = tasks_of(
        wh.root, wh.version, [spec], {spec.job_id: 0}, known_algorithms(wh.root, all_versions=True),
        known_interfaces(wh.root), wh.sockets,
    )  # fmt: skip
    return made


def test_files_of_an_image_set_are_those_that_were_ingested(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    made = image(
        "1.2.60.1", SeriesInstanceUID="1.2.60", StudyInstanceUID="1.1.6", PixelData=bytes(2)
    )
    del made["SOPInstanceUID"]  # type 1, but files without one exist
    write(tmp_path / "in" / "no-uid", made)
    put_volume(tmp_path / "in", "MR", "1.2.50", "1.1.5")
    put_volume(tmp_path / "packed", "MR", "1.2.70", "1.1.7")
    with zipfile.ZipFile(tmp_path / "in" / "some.zip", "w") as archive:
        for file in (tmp_path / "packed").iterdir():
            archive.write(file, file.name)
    assert wh.ingest(tmp_path / "in", workers=1).created == 7

    def names(series: str, folder: str) -> list[str]:
        made = task(wh, "scan -> voxel-count", Input("scan", series_key=series))
        write_inputs(made, open_catalog(wh.root), tmp_path / folder)
        return sorted(os.listdir(tmp_path / folder / "images" / "scan"))

    assert names("1.2.50", "a") == ["1.2.50.0.dcm", "1.2.50.1.dcm", "1.2.50.2.dcm"]
    assert names("1.2.70", "b") == ["1.2.70.0.dcm", "1.2.70.1.dcm", "1.2.70.2.dcm"]
    found = (tmp_path / "b" / "images" / "scan" / "1.2.70.0.dcm").read_bytes()
    assert found == (tmp_path / "packed" / "1.2.70.0").read_bytes()
    (name,) = names("1.2.60", "c")
    assert name.startswith("content-")
    # Other voxels in a file of the same size, which the id of the job does not know.
    put_volume(tmp_path / "in", "MR", "1.2.50", "1.1.5", plus=600)
    with pytest.raises(InputRefused, match="is not what was ingested"):
        names("1.2.50", "d")


@pytest.mark.acceptance("G47")
def test_the_folder_of_inputs(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    make = wh.components.create_socket
    make(title="Table", kind="CSV", relative_path="table.csv")
    make(title="Points", kind="MPOI", relative_path="points.json")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    write_array(np.zeros((1, 2, 3), "u1"), np.eye(4), tmp_path / "m.mha")
    points = {
        "type": "Multiple points",
        "version": {"major": 1, "minor": 0},
        "points": [{"point": [1, 2, 3]}],
    }
    add = wh.components.add_value
    ids = {
        "age": add("age", 41).value_id, "table": add("table", file=tmp_path / "t.csv").value_id,
        "points": add("points", points).value_id, "mask": add("mask", file=tmp_path / "m.mha").value_id,
    }  # fmt: skip
    made = task(
        wh, "age, table, points, mask, ct, scan -> voxel-count",
        *(Input(slug, value, prefix="job/output/" if slug == "age" else "") for slug, value in ids.items()),
        Input("ct", series_key=CT), Input("scan", series_key=CT),
    )  # fmt: skip
    folder = tmp_path / "input"
    write_inputs(made, wh.catalog, folder)
    uid = next(each.pk for each in made.inputs if each.socket.slug == "ct")
    tree = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert tree == {
        "inputs.json", "job/output/age.json", "table.csv", "points.json", f"images/mask/{ids['mask']}.mha",
        f"images/ct/{uid}.mha", *(f"images/scan/{CT}.{n}.dcm" for n in range(3)),
    }  # fmt: skip
    assert json.loads((folder / "job/output/age.json").read_text()) == 41
    assert json.loads((folder / "points.json").read_text()) == points
    assert (folder / "table.csv").read_text() == "a,b\n1,2\n"
    listed = json.loads((folder / "inputs.json").read_text())
    # In the order of the platform: JSON by slug, files, images by slug.
    assert [entry["socket"]["slug"] for entry in listed] == [
        "age",
        "points",
        "table",
        "ct",
        "mask",
        "scan",
    ]
    assert all(
        entry["interface"] == entry["socket"] and len(entry["socket"]) == 10 for entry in listed
    )
    assert listed[0]["value"] == 41
    assert listed[3]["image"] == {"pk": uid, "name": f"{uid}.mha"}
    # Whoever the algorithm runs as may read it.
    assert all(p.stat().st_mode & (0o005 if p.is_dir() else 0o004) for p in folder.rglob("*"))
    (called,) = invocation(made)
    paths = {each["relative_path"] for each in called["inputs"]}
    assert {"job/output/age.json", "inputs.json", f"images/ct/{uid}.mha"} <= paths
    assert all(
        each["bucket_key"] == f"io/{made.name}/{each['relative_path']}" for each in called["inputs"]
    )
    assert (called["pk"], called["timeout"]) == (made.name, "3600s")
    import SimpleITK

    read = SimpleITK.ReadImage(folder / f"images/ct/{uid}.mha")
    expected = wh.volume(CT, rescale=True)[:]
    assert np.array_equal(SimpleITK.GetArrayFromImage(read), expected)
    assert (read.GetSpacing(), read.GetOrigin()) == ((0.25, 0.5, 2.0), (1.0, 2.0, 3.0))


def test_a_series_that_is_no_volume_is_refused_with_its_reason(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    made = task(wh, "ct -> voxel-count", Input("ct", series_key=DX))
    (why,) = wh.sql(f"select why_not from series_geometry where series_key = '{DX}'").fetchall()[0]
    with pytest.raises(InputRefused) as caught:
        write_inputs(made, wh.catalog, tmp_path / "input")
    assert caught.value.title == "CT"
    assert why.split(";")[0].split(",")[0] in caught.value.why


@pytest.mark.acceptance("G46")
def test_inputs_are_exactly_those_of_the_interface(wh: warehouse.Warehouse) -> None:
    make = wh.components.create_socket
    make(title="Flag", kind="BOOL", relative_path="flag.json")
    make(title="Maybe", kind="JSON", relative_path="maybe.json")
    interface = Interface(frozenset({"age", "flag", "maybe"}), frozenset({"voxel-count"}))
    require_complete(interface, wh.sockets, {"age": True, "flag": True, "maybe": True})
    # A flag and what may be null need no value, an integer does.
    require_complete(interface, wh.sockets, {"age": True, "flag": False, "maybe": False})
    for provided, said in (
        ({"age": True, "flag": True}, "missing: maybe"), ({"age": False, "flag": True, "maybe": True}, "missing: age"),
        ({"age": True, "flag": True, "maybe": True, "mode": True}, "unexpected: mode"),
    ):  # fmt: skip
        with pytest.raises(ComponentError, match=said):
            require_complete(interface, wh.sockets, provided)


def _link(folder: Path) -> None:
    (folder / "count.json").symlink_to("/etc/passwd")


def _linked_folder(folder: Path) -> None:
    (folder / "elsewhere" / "mask").mkdir(parents=True)
    (folder / "images").symlink_to(folder / "elsewhere")


def _image(folder: Path, array: np.ndarray | None = None, name: str = "m.mha") -> None:
    (folder / "images" / "mask").mkdir(parents=True, exist_ok=True)
    write_array(
        np.zeros((3, 4, 5), "u1") if array is None else array,
        np.eye(4),
        folder / "images" / "mask" / name,
    )


def _json(text: str):
    return lambda folder: (folder / "count.json").write_text(text)


def _sparse(folder: Path) -> None:
    with (folder / "count.json").open("wb") as file:
        file.truncate(10 << 30)


def _many(folder: Path) -> None:
    (folder / "images" / "mask").mkdir(parents=True)
    for number in range(output_folder.MAX_FILES + 1):
        (folder / "images" / "mask" / f"{number}").touch()


def _bomb(folder: Path) -> None:
    """Sixty voxels by its header, and 64 MiB when it is unpacked."""
    _image(folder)
    path = folder / "images/mask/m.mha"
    head = path.read_bytes().partition(b"ElementDataFile")[0]
    packed = zlib.compress(bytes(64 << 20), 1)
    path.write_bytes(
        head.replace(b"CompressedData = False", b"CompressedData = True")
        + b"ElementDataFile = LOCAL\n" + packed
    )  # fmt: skip


def _endless(folder: Path) -> None:
    _image(folder)
    path = folder / "images/mask/m.mha"
    path.write_bytes(path.read_bytes().replace(b"DimSize = 5 4 3", b"DimSize = 99999 99999 99999"))


HOSTILE = {
    "missing": ("count", "was not produced", lambda folder: None),
    "link": ("count", "is a symbolic link", _link),
    "folder": ("count", "is not a file", lambda folder: (folder / "count.json").mkdir()),
    "pipe": ("count", "is not a file", lambda folder: os.mkfifo(folder / "count.json")),
    "sparse": ("count", "larger than 4 GiB", _sparse),
    "nan": ("count", "NaN", _json("NaN")),
    "text": ("count", "not of type", _json('"many"')),
    "garbage": ("count", "not JSON", _json("{")),
    "bom": ("count", "byte order mark", _json("\ufeff1")),
    "linked folder": ("mask", "is a symbolic link", _linked_folder),
    "no image": ("mask", "contains 0", lambda folder: (folder / "images" / "mask").mkdir(parents=True)),
    "two images": ("mask", "contains 2", lambda folder: (_image(folder), _image(folder, name="n.mha"))),
    "many files": ("mask", "more than 1000 files", _many),
    "newline": ("mask", "non-printable", lambda folder: _image(folder, name="a\nb.mha")),
    "unknown label": ("mask", "not overlay segments", lambda folder: _image(folder, np.full((3, 4, 5), 9, "u1"))),
    "bomb": ("mask", "another number of voxels", _bomb),
    "too large": ("mask", "GiB of voxels", _endless),
    "no image at all": ("mask", "MetaImage", lambda folder: (_image(folder), (folder / "images/mask/m.mha").write_text("x"))),
}  # fmt: skip


@pytest.mark.acceptance("G49")
def test_hostile_outputs_are_refused_and_nothing_is_stored(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    both = task(
        wh, "age -> voxel-count, mask", Input("age", wh.components.add_value("age", 1).value_id)
    )
    before = wh.sql("select count(*) from socket_values").fetchall()
    for name, (which, said, make) in HOSTILE.items():
        folder = tmp_path / name
        folder.mkdir()
        # The other output is right: it is not taken either.
        if which == "mask":
            (folder / "count.json").write_text("1")
        else:
            _image(folder)
        make(folder)
        with ExitStack() as stack, pytest.raises(OutputRefused, match=said) as caught:
            collected(
                wh.root, both, Done("x", "executed", "podman"), wh.sockets, stack, folder=folder
            )
        assert list(caught.value.details) == [{"count": "Voxel count", "mask": "Mask"}[which]], name
    wh.refresh()
    assert wh.sql("select count(*) from socket_values").fetchall() == before
    assert not [p for p in (wh.root / "values").iterdir() if p.name.startswith(".")]


def test_an_image_that_lies_elsewhere_is_kept_and_told(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    made = task(wh, "ct -> mask", Input("ct", series_key=CT), series=CT)
    volume = wh.volume(CT)
    for affine, expected in ((volume.affine, {}), (np.eye(4), {"Mask"})):
        folder = tmp_path / str(len(expected))
        _image(folder)
        write_array(np.zeros((3, 4, 5), "u1"), affine, folder / "images/mask/m.mha")
        with ExitStack() as stack:
            found = collected(
                wh.root, made, Done("x", "executed", "bwrap"), wh.sockets, stack, folder=folder
            )
            assert set(output_folder.misplaced(made, wh.catalog, found)) == set(expected)


@pytest.mark.parametrize("names", [
    ("ElementSpacing", "Offset", "TransformMatrix"), ("ElementSize", "Position", "Orientation"),
    ("ElementSpacing", "Origin", "Rotation"),
])  # fmt: skip
def test_the_geometry_of_an_mha_is_that_of_simpleitk(
    tmp_path: Path, names: tuple[str, str, str]
) -> None:
    SimpleITK = pytest.importorskip("SimpleITK")
    lines = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", "DimSize = 4 3 2",
        *(f"{name} = {text}" for name, text in zip(names, ("4 5 6", "1 2 3", "0 1 0 0 0 1 1 0 0"), strict=True)),
        "ElementType = MET_SHORT", "ElementDataFile = LOCAL", "",
    ]  # fmt: skip
    path = tmp_path / "a.mha"
    path.write_bytes("\n".join(lines).encode() + bytes(48))
    read, ours = SimpleITK.ReadImage(path), read_geometry(path)
    assert ours is not None
    assert (ours.spacing, ours.origin) == (read.GetSpacing(), read.GetOrigin())
    assert ours.direction == tuple(np.reshape(read.GetDirection(), (3, 3)).T.ravel())
    path.write_bytes("\n".join(lines[:4] + lines[5:]).encode() + bytes(48))
    assert read_geometry(path) is None


@pytest.mark.acceptance("G50")
def test_a_zip_is_unpacked_without_what_leads_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def packed(*names: str, content: bytes = b"x") -> Path:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, content)
        path = tmp_path / f"{len(names)}-{len(content)}.zip"
        path.write_bytes(buffer.getvalue())
        return path

    names = [
        "case/a.json",
        "case/sub/b.json",
        "__MACOSX/case/._a",
        "case/.DS_Store",
        "case/desktop.ini",
        "../x",
        "/y",
        "case/../../z",
    ]
    assert unzip(packed(*names), tmp_path / "out" / "in") == ["a.json", "sub/b.json"]
    assert sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file()) == [
        "a.json",
        "b.json",
    ]
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["out"]
    # A full disk is not the fault of the file.
    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", full)
        with pytest.raises(OSError, match="No space left"):
            unzip(packed("a"), tmp_path / "full")
    with pytest.raises(ValueRefused, match="too many files or bytes"):
        unzip(packed("bomb", content=bytes(8 << 20)), tmp_path / "bomb")
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueRefused, match="damaged"):
        unzip(tmp_path / "bad.zip", tmp_path / "bad")
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", bytes(range(256)))
    content = bytearray((tmp_path / "lzma.zip").read_bytes())
    content[60:120] = bytes(60)
    (tmp_path / "lzma.zip").write_bytes(content)
    with pytest.raises(ValueRefused, match="damaged"):
        unzip(tmp_path / "lzma.zip", tmp_path / "lzma")
    # Folders deeper than Python recurses could not be made readable for the algorithm.
    deep = ["top", *(f"{'a/' * levels}f" for levels in (100, 201))]
    with pytest.raises(ValueRefused, match="more than 200 levels"):
        unzip(packed(*deep), tmp_path / "deep")
    with tarfile.open(tmp_path / "deep.tar.gz", "w:gz") as tar:
        for name in deep:
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ArchiveRefused, match="more than 200 levels"):
        list(model_members(tmp_path / "deep.tar.gz"))
    with (
        tarfile.open(tmp_path / "deep.tar.gz") as tar,
        pytest.raises(ArchiveRefused, match="more than 200 levels"),
    ):
        unpack(tar, tmp_path / "unpacked")
