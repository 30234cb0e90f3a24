"""Archives of images and models: seven rules, five layouts, and what becomes of what is imported."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.tiny_images import archive, model, sha
from warehouse.algorithms import jobs
from warehouse.algorithms.archives import model_members, read_archive, unpack
from warehouse.algorithms.bubblewrap import _user_and_home
from warehouse.errors import AlgorithmError, ArchiveRefused, ComponentError, UnknownArtifact

LAYOUTS = ("docker20", "docker25", "podman", "crane", "oci")


@pytest.mark.acceptance("G61")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", ["", "gz", "xz"])
def test_every_layout_is_read_without_unpacking(tmp_path: Path, layout: str, packed: str) -> None:
    path = archive(tmp_path / "i.tar", layout=layout, packed=packed, method="invoke")
    found = read_archive(path)
    plain = read_archive(archive(tmp_path / "j.tar", method="invoke"))
    assert (found.sha256, found.size, found.api_method) == (plain.sha256, plain.size, "invoke")
    assert len(found.layers) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["i.tar", "j.tar"]


def _two(members: dict) -> None:
    members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) * 2).encode()


def _no_manifest(members: dict) -> None:
    del members["manifest.json"]


def _no_config(members: dict) -> None:
    del members[
        next(name for name in members if name.endswith(".json") and name != "manifest.json")
    ]


def _bad_sha(members: dict) -> None:
    name = next(name for name in members if name.endswith(".json") and name != "manifest.json")
    members[name] += b" "


def _settings(settings: dict) -> Callable[[dict], None]:
    def change(members: dict) -> None:
        name = next(name for name in members if name.endswith(".json") and name != "manifest.json")
        config = json.loads(members.pop(name))
        config["config"] |= settings
        content = json.dumps(config).encode()
        new = f"{sha(content)}.json"
        members[new] = content
        manifest = json.loads(members["manifest.json"])
        manifest[0]["Config"] = new
        members["manifest.json"] = json.dumps(manifest).encode()

    return change


def _no_layer(members: dict) -> None:
    del members[next(name for name in members if name.endswith("layer.tar"))]


@pytest.mark.acceptance("G61")
@pytest.mark.parametrize(
    ("said", "how"),
    [
        ("exactly one image", {"change": _two}), ("no manifest.json", {"change": _no_manifest}),
        ("configuration named in its manifest", {"change": _no_config}), ("SHA-256 of its content", {"change": _bad_sha}),
        ("layers are not in", {"change": _no_layer}), ("architecture is not amd64", {"architecture": "arm64"}),
        *(("user is root", {"user": user}) for user in ("", "root", "0", "0:1000", "root:root", " ROOT ", "00", "+0:5")),
        *(("is no text", {"change": _settings(each)}) for each in (
            {"Env": 5}, {"Env": "A=b"}, {"Env": ["A=\0"]}, {"Entrypoint": 5}, {"Cmd": [["a"]]}, {"WorkingDir": {}},
        )),
        ("neither exec nor invoke", {"method": "shout"}),
    ],
)  # fmt: skip
def test_the_rules_of_images(tmp_path: Path, said: str, how: dict) -> None:
    with pytest.raises(ArchiveRefused, match=said):
        read_archive(archive(tmp_path / "i.tar", **how))


def test_a_user_without_numbers_is_the_one_of_nobody(tmp_path: Path) -> None:
    image = read_archive(archive(tmp_path / "i.tar", user="user"))
    (tmp_path / "etc").mkdir()
    for line in ("user:x::::/home:", "user:x:five:6::/home:", "user:x:5:-6::/home:"):
        (tmp_path / "etc" / "passwd").write_text(line)
        assert _user_and_home(tmp_path, image)[:2] == (65534, 65534)
    (tmp_path / "etc" / "passwd").write_text("user:x:5:6::/home:")
    assert _user_and_home(tmp_path, image) == (5, 6, tmp_path / "home")


def test_hostile_archives(tmp_path: Path) -> None:
    whole = archive(tmp_path / "i.tar", packed="gz").read_bytes()
    for number, content in enumerate(
        (b"", b"no tar", whole[:-200], whole[:40], b"\x1f\x8b" + b"\0" * 50)
    ):
        (tmp_path / f"{number}").write_bytes(content)
        with pytest.raises(ArchiveRefused):
            read_archive(tmp_path / f"{number}")
    deep = b"[" * 100_000
    with pytest.raises(ArchiveRefused, match="not valid JSON"):
        read_archive(
            archive(tmp_path / "deep.tar", change=lambda m: m.update({"manifest.json": deep}))
        )


@pytest.mark.parametrize(
    "members",
    [
        [("../x", b"out")], [("a/../../x", b"out")], [("link", "/etc"), ("link/x", b"out")],
        [("link", "../../.."), ("link/x", b"out")], [(".wh...", b"")], [("a/.wh...", b"")],
        [("link", "loop"), ("loop", "link"), ("link/x", b"")],
    ],
)  # fmt: skip
def test_layers_stay_in_their_folder(
    tmp_path: Path, members: list[tuple[str, bytes | str]]
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "mine").write_text("mine")
    target = tmp_path / "keep" / "root"
    try:
        with tarfile.open(fileobj=buffer) as tar:
            unpack(tar, target)
    except ArchiveRefused:
        pass
    assert not Path("/etc/x").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["keep"]
    assert sorted(p.name for p in (tmp_path / "keep").iterdir()) == ["mine", "root"]


@pytest.mark.acceptance("G60")
@pytest.mark.acceptance("G62")
def test_an_import_and_refusals_are_rows(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    with pytest.raises(ArchiveRefused, match="user is root"):
        parts.add_image(archive(tmp_path / "root.tar", user="root"), parent="a")
    made = parts.add_image(archive(tmp_path / "1.tar"), parent="a")
    with pytest.raises(ArchiveRefused, match="imported before"):
        parts.add_image(archive(tmp_path / "again.tar", layout="docker25"), parent="a")
    rows = wh.sql("""
        select import_label, message <> '', size_in_storage, is_desired_version, count(*)
        from artifacts group by all order by 1
    """).fetchall()
    size = (tmp_path / "1.tar").stat().st_size
    assert rows == [("Failed", True, 0, False, 2), ("Completed", False, size, True, 1)][::-1]
    stored = wh.root / "values" / made.file_sha256[:2] / made.file_sha256
    assert stored.exists()
    parts.remove_artifact(made.artifact_id)
    assert not stored.exists()


@pytest.mark.long("test_an_import_and_refusals_are_rows")
@pytest.mark.acceptance("G60")
@pytest.mark.acceptance("G62")
@pytest.mark.acceptance("G63")
@pytest.mark.acceptance("G64")
def test_imports_are_rows(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    with pytest.raises(ArchiveRefused, match="user is root"):
        parts.add_image(archive(tmp_path / "root.tar", user="root"), parent="a")
    rows = wh.sql(
        "select import_label, message <> '', is_manifest_valid, size_in_storage from artifacts"
    )
    assert rows.fetchall() == [("Failed", True, False, 0)]
    first = parts.add_image(archive(tmp_path / "1.tar"), parent="a")
    with pytest.raises(ArchiveRefused, match="imported before"):
        parts.add_image(archive(tmp_path / "again.tar", layout="docker25"), parent="a")
    second = parts.add_image(archive(tmp_path / "2.tar", method="invoke"), parent="a")
    assert parts.add_image(archive(tmp_path / "3.tar"), parent="b").sha256 == first.sha256
    packed = model(tmp_path / "w.tar.gz")
    weights = parts.add_model(packed, parent="a")
    kept = sorted(p.name for p in (wh.root / "values").rglob("*") if p.is_file())
    with pytest.raises(ArchiveRefused, match="imported before"):
        parts.add_model(packed, parent="a")
    (tmp_path / "plain.tar").write_bytes(b"no gzip")
    with pytest.raises(ArchiveRefused, match="gzip"):
        parts.add_model(tmp_path / "plain.tar", parent="a")
    assert sorted(p.name for p in (wh.root / "values").rglob("*") if p.is_file()) == kept
    counts = wh.sql(
        "select import_status, count(*) from artifacts group by all order by 1"
    ).fetchall()
    assert counts == [(5, 4), (6, 4)]
    path = wh.sql(
        "select list(import_status order by event) from artifact_events group by artifact_id"
    ).fetchall()
    assert {tuple(row[0]) for row in path} == {(0, 1, 3, 5), (0, 1, 3, 6)}
    desired = (
        "select artifact_id from artifacts where is_desired_version and parent = 'a' order by kind"
    )
    assert wh.sql(desired).fetchall() == [(second.artifact_id,), (weights.artifact_id,)]
    parts.mark_desired(first.artifact_id[:8])
    assert wh.sql(desired).fetchall() == [(first.artifact_id,), (weights.artifact_id,)]
    (failed,) = wh.sql(
        "select artifact_id from artifacts where import_status = 5 limit 1"
    ).fetchall()[0]
    with pytest.raises(AlgorithmError, match="cannot be executed"):
        parts.mark_desired(failed)
    with pytest.raises(UnknownArtifact):
        parts.mark_desired("none")
    # Sums equal the files on the disk, and the layers and configurations of the fixtures.
    storage, registry = wh.sql(
        "select sum(size_in_storage), sum(size_in_registry) from artifacts where kind = 'image'"
    ).fetchall()[0]
    sources = [tmp_path / f"{n}.tar" for n in (1, 2, 3)]
    assert storage == sum(p.stat().st_size for p in sources)
    assert registry == sum(read_archive(p).size for p in sources)
    parts.remove_artifact(second.artifact_id)
    assert sha((tmp_path / "2.tar").read_bytes()) not in {
        p.name for p in (wh.root / "values").rglob("*")
    }
    # Another algorithm has the same archive still.
    parts.remove_artifact(first.artifact_id)
    assert sha((tmp_path / "1.tar").read_bytes()) in {
        p.name for p in (wh.root / "values").rglob("*")
    }
    with pytest.raises(AlgorithmError, match="cannot be executed"):
        parts.create("a", "age -> voxel-count", image=first.artifact_id)


@pytest.mark.acceptance("G65")
def test_another_version_and_a_failed_import_can_go(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    parts = wh.algorithms
    old = parts.add_image(archive(tmp_path / "1.tar"), parent="grow")
    with pytest.raises(ArchiveRefused):
        parts.add_image(archive(tmp_path / "bad.tar", user="root"), parent="grow")
    parts.add_image(archive(tmp_path / "2.tar", method="invoke"), parent="grow")
    proposed = wh.sql(
        "select artifact_id = $1, reason from artifact_housekeeping()", [old.artifact_id]
    )
    assert set(proposed.fetchall()) == {
        (True, "another version is desired"),
        (False, "the import failed"),
    }


@pytest.mark.long("test_another_version_and_a_failed_import_can_go")
@pytest.mark.acceptance("G65")
def test_what_can_go(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    old = parts.add_image(archive(tmp_path / "1.tar"), parent="grow")
    with pytest.raises(ArchiveRefused):
        parts.add_image(archive(tmp_path / "bad.tar", user="root"), parent="grow")
    new = parts.add_image(archive(tmp_path / "2.tar", method="invoke"), parent="grow")
    reasons = "select artifact_id, reason from artifact_housekeeping({}) order by reason"
    assert (
        dict(wh.sql(reasons.format("")).fetchall())[old.artifact_id] == "another version is desired"
    )
    assert {row[1] for row in wh.sql(reasons.format("")).fetchall()} == {
        "the import failed",
        "another version is desired",
    }
    later = wh.sql(
        reasons.format("as_of := cast(now() + interval 92 days as timestamp)")
    ).fetchall()
    assert dict(later)[new.artifact_id] == "no job succeeded with it for three months"
    weights = parts.add_model(model(tmp_path / "1.tar.gz"), parent="grow")
    parts.mark_desired(parts.add_model(model(tmp_path / "2.tar.gz"), parent="grow").artifact_id)
    wh.refresh()
    assert weights.artifact_id in dict(wh.sql(reasons.format("")).fetchall())
    # One that an active job needs is not among them, and cannot be taken away.
    parts.create(
        "grow", "age -> voxel-count", image=old.artifact_id, model=weights.artifact_id
    )  # fmt: skip
    from warehouse.algorithms.jobs import Case, Input, spec_of
    from warehouse.algorithms.registry import find_algorithm

    value = wh.components.add_value("age", 1).value_id
    algorithm = find_algorithm(wh.root, "grow")
    spec = spec_of(algorithm, Case(algorithm.interfaces[0], (Input("age", value),)))
    jobs.add_jobs(wh.root, [spec])
    wh.refresh()
    proposed = dict(wh.sql(reasons.format("")).fetchall())
    assert not {old.artifact_id, weights.artifact_id} & set(proposed)
    with pytest.raises(AlgorithmError, match="active jobs use it"):
        parts.remove_artifact(old.artifact_id)


def test_an_algorithm_takes_the_desired_image(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    image = wh.algorithms.add_image(archive(tmp_path / "1.tar", method="invoke"), parent="grow")
    weights = wh.algorithms.add_model(model(tmp_path / "w.tar.gz"), parent="grow")
    found = wh.algorithms.create("grow", "age -> voxel-count")
    assert (found.image_id, found.model_id, found.api_method) == (
        image.artifact_id,
        weights.artifact_id,
        "invoke",
    )
    with pytest.raises(warehouse.errors.UsageError, match="images run in containers; use 1 or"):
        wh.run_algorithm("grow", workers=0)
    with pytest.raises(AlgorithmError):
        wh.algorithms.create(
            "grow", "age -> voxel-count", image=image.artifact_id, function="os:getcwd"
        )
    for bad in ("Upper", "", "a b", "x" * 80):
        with pytest.raises(AlgorithmError, match="lower-case"):
            wh.algorithms.create(bad, "age -> voxel-count", function="os:getcwd")
    with pytest.raises(ComponentError, match="same inputs"):
        wh.algorithms.create("two", "age -> voxel-count", "age -> mean-value", function="os:getcwd")


def test_archives_stay_and_jobs_of_a_patient_go(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    import datetime as dt

    from tests.algorithms.conftest import CT, CT2, function

    image = wh.algorithms.add_image(archive(tmp_path / "1.tar"), parent="a")
    kept = wh.root / "values" / image.file_sha256[:2] / image.file_sha256
    (wh.root / "_jobs" / "algorithm-job-x-00" / "input").mkdir(parents=True)
    (wh.root / "_jobs" / "algorithm-job-x-00" / "input" / "ct.mha").write_text("pixels")
    wh.algorithms.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    wh.run_algorithm("measure", [CT, CT2], workers=0)
    wh.vacuum(dt.timedelta(0), delete=True)
    assert kept.exists()
    wh.upkeep.forget(patient="P1", delete=True)
    assert kept.exists()
    assert wh.sql("select series_key from job_specs").fetchall() == [(CT2,)]
    assert wh.sql("select count(distinct job_id) from job_events").fetchall() == [(1,)]
    assert not (wh.root / "_jobs" / "algorithm-job-x-00" / "input" / "ct.mha").exists()


def _header(kind: bytes, size: int) -> bytes:
    made = tarfile.TarInfo("a")
    made.type, made.size = kind, size
    return made.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_header(tarfile.GNUTYPE_LONGNAME, 1 << 33), "tar header that is too long"),
        (_header(tarfile.GNUTYPE_LONGLINK, 1 << 33), "tar header that is too long"),
        (_header(tarfile.XHDTYPE, 1 << 33), "tar header that is too long"),
        (_header(tarfile.XGLTYPE, 1 << 33), "tar header that is too long"),
        (_header(tarfile.GNUTYPE_SPARSE, 0), "tar header that is too long"),
        (
            5_000 * (_header(tarfile.XHDTYPE, 12) + b"12 a=123456\n".ljust(512, b"\0")),
            "not a .*tar",
        ),
        (5_000 * (_header(tarfile.GNUTYPE_LONGNAME, 2) + b"a".ljust(512, b"\0")), "not a .*tar"),
    ],
    ids=["name", "link", "attributes", "of all", "sparse", "nested attributes", "nested names"],
)
def test_headers_that_announce_more_than_fits_are_refused(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(content + bytes(1 << 20)))
    with pytest.raises(ArchiveRefused, match=said):
        read_archive(tmp_path / "a.tar.gz")
    with pytest.raises(ArchiveRefused, match=said):
        list(model_members(tmp_path / "a.tar.gz"))
