"""Real containers: podman where it is installed, bubblewrap, and images that misbehave."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import CT
from tests.algorithms.running import ends, found, left_over, modes, ready
from tests.algorithms.test_hostile_images import until
from tests.algorithms.tiny_images import archive
from tests.programs import needed
from warehouse.algorithms import container, engines
from warehouse.algorithms.archives import read_archive
from warehouse.components.sets import put_items
from warehouse.components.values import Given
from warehouse.errors import EngineMissing

if sys.platform != "linux":
    pytest.skip("containers are a thing of Linux", allow_module_level=True)


INSIDE = {
    "uid": 1000, "networks": ["lo"], "tmp": [], "input_is_writable": False, "env": "yes",
    "model": ["weights.bin"], "capabilities": ["0" * 16], "home": "/home/user",
}  # fmt: skip
"""What an image sees of the machine that runs it."""


def test_an_image_sees_nothing_of_the_machine(
    tiny: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready("podman")
    monkeypatch.setattr(container, "GRACE", 1.0)
    modes(tiny, "s", "look")
    report = tiny.algorithms.run("look-exec", of_set="s", runner="podman", seconds=4)
    assert (report.succeeded, report.failed) == (1, 0)
    assert found(tiny, "look") == INSIDE
    assert left_over(tiny, "podman") == []


@pytest.mark.long("test_an_image_sees_nothing_of_the_machine")
@pytest.mark.acceptance("G49")
@pytest.mark.acceptance("G51")
@pytest.mark.parametrize("runner", ["podman", pytest.param("bwrap", marks=pytest.mark.slow)])
def test_an_image_runs_as_it_is(
    tiny: warehouse.Warehouse, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(runner)
    monkeypatch.setattr(container, "GRACE", 1.0)
    modes(tiny, "s", "look", "fail", "exit137", "link", "shout", "hang")
    report = tiny.algorithms.run("look-exec", of_set="s", runner=runner, workers=2, seconds=4)
    assert (report.succeeded, report.failed) == (2, 4)
    assert found(tiny, "look") == INSIDE
    end = ends(tiny)
    # What it says may be secret: it is in the log, not in the message.
    assert end["fail"][:3] == (
        "Failed",
        "the algorithm ended with exit code 7; see the log of the job",
        7,
    )
    assert end["fail"][3] == "secret of the model"
    assert end["exit137"][:3] == ("Failed", "the algorithm ended with exit code 137", 137)
    assert end["link"][1] == "output 'Look': look.json is a symbolic link, which is not followed"
    assert end["hang"][:3] == ("Failed", "Time limit exceeded", None)
    assert (end["shout"][0], end["shout"][3:]) == ("Succeeded", ("a warning", True))
    ((lines, longest),) = tiny.sql("""
        select len(string_split(stdout, chr(10))), list_max([length(line) for line in string_split(stdout, chr(10))])
        from jobs where item = 's/shout'
    """).fetchall()
    assert (lines, longest) == (500, 4096)
    assert tiny.algorithms.run("mask-exec", [CT], runner=runner).succeeded == 1
    # The source: numpy on the stored values, and the rescale intercept of -1000.
    rows = tiny.sql("select mean_value, mask is not null from outputs('mask-exec')").fetchall()
    assert rows == [(float(tiny.volume(CT)[:].mean()) - 1000, True)]
    assert tiny.sql("select image_labels from socket_values where slug = 'mask'").fetchall() == [
        ([0, 1],)
    ]
    assert left_over(tiny, runner) == []


def answered(wh: warehouse.Warehouse, runner: str, names: list[str]) -> dict[str, tuple]:
    """Give cases with these modes to one image; return how they ended."""
    wh.components.create_socket(title="Number", kind="INT", relative_path="number.json")
    image = wh.algorithms.find("look-invoke").image_id
    wh.algorithms.create("many", "mode, number -> look", image=image, requires_memory_gb=4)
    count = len(names)
    added = wh.components.add_values(
        [Given("mode", m) for m in names] + [Given("number", n) for n in range(count)]
    )
    items = {
        f"{n:02}": {"mode": added[n].value_id, "number": added[count + n].value_id}
        for n in range(count)
    }
    put_items(wh.root, "s", items)
    report = wh.algorithms.run("many", of_set="s", runner=runner, seconds=3)
    assert (report.succeeded, report.failed) == (names.count("count"), count - names.count("count"))
    assert left_over(wh, runner) == []
    return ends(wh)


def test_one_process_answers_several_cases(tiny: warehouse.Warehouse) -> None:
    ready("bwrap")
    end = answered(tiny, "bwrap", ["count", "fail", "count"])
    assert end["01"][1] == "the algorithm answered with HTTP status 500"
    first, last = found(tiny, "00"), found(tiny, "02")
    assert (first["pid"], first["cases"], last["cases"]) == (last["pid"], 1, 3)


@pytest.mark.long("test_one_process_answers_several_cases")
@pytest.mark.parametrize("runner", ["bwrap", pytest.param("podman", marks=pytest.mark.slow)])
def test_one_process_answers_twenty_cases(
    tiny: warehouse.Warehouse, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(runner)
    monkeypatch.setattr(container, "GRACE", 0.2)
    names = ["fail" if n == 3 else "hang" if n == 15 else "count" for n in range(20)]
    end = answered(tiny, runner, names)
    assert end["03"][1] == "the algorithm answered with HTTP status 500"
    assert end["15"][1] == "Time limit exceeded"
    looked = [found(tiny, f"{n:02}") for n in range(20) if names[n] == "count"]
    # One process until the case that did not answer, another one after it.
    assert len({each["pid"] for each in looked[:14]}) == 1
    assert [each["cases"] for each in looked[:4]] == [1, 2, 3, 5]
    assert [each["cases"] for each in looked[-4:]] == [1, 2, 3, 4]


@pytest.mark.long("test_what_docker_and_podman_are_asked_with")  # it starts a daemon
def test_docker_runs_the_same_image(
    tiny: warehouse.Warehouse, docker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready("docker")
    monkeypatch.setattr(container, "GRACE", 1.0)
    modes(tiny, "s", "look", "exit137")
    report = tiny.algorithms.run("look-exec", of_set="s", runner="docker", workers=2, seconds=30)
    end = ends(tiny)
    assert (report.succeeded, report.failed) == (1, 1), end
    assert found(tiny, "look") == INSIDE
    # What podman-docker says of itself would be a warning.
    assert end["look"][3:] == ("", False)
    assert end["exit137"][:3] == ("Failed", "the algorithm ended with exit code 137", 137)
    assert tiny.sql("select distinct runner from jobs").fetchall() == [("docker",)]
    label = f"label={engines.LABEL}={container.owner_of(tiny.root)}"
    listed = [docker, "ps", "-aq", "--filter", label]
    assert subprocess.run(listed, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.slow
def test_docker_stops_what_does_not_end(
    tiny: warehouse.Warehouse, docker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready("docker")
    monkeypatch.setattr(container, "GRACE", 1.0)
    monkeypatch.setattr(engines, "MB_PER_GB", 64)
    modes(tiny, "s", "hang", "memory", "fork")
    tiny.algorithms.run("look-exec", of_set="s", runner="docker", workers=1, seconds=6)
    end = ends(tiny)
    assert end["hang"][:3] == ("Failed", "Time limit exceeded", None)
    assert end["memory"][1].startswith("The algorithm was killed because it used more memory")
    assert found(tiny, "fork")["forks"] < engines.PIDS
    assert tiny.algorithms.run("mask-invoke", [CT], runner="docker").succeeded == 1


MOUNTED = engines.Mounts(Path("/in"), Path("/out"), Path("/model"), Path("/truth"))


def an_engine(
    folder: Path, name: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> engines.Engine:
    """An engine of which only its version can be asked."""
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)
    monkeypatch.setattr(
        engines,
        "_program",
        lambda asked: str(folder / asked) if (folder / asked).exists() else None,
    )
    return engines.Engine(name)


def test_what_docker_and_podman_are_asked_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = read_archive(archive(tmp_path / "i.tar"))
    asked = {}
    for name, says in (
        ("docker", "Docker version 28.2.2, build e6534b4"), ("podman", "podman version 4.3.1"),
        ("both", "podman version 4.3.1"),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        program = "docker" if name == "both" else name
        engine = an_engine(tmp_path / name, program, says, monkeypatch)
        words = engine.command(image, MOUNTED, memory_gb=8, gpu="T4", owner="me").words
        assert words[0] == str(tmp_path / name / program)
        asked[name] = words[1:-1]
        assert words[-1] == image.sha256
    for name, words in asked.items():
        pairs = list(itertools.pairwise(words))
        for pair in (
            ("--network", "none"), ("--cap-drop", "all"), ("--security-opt", "no-new-privileges"),
            ("--pids-limit", "512"), ("--memory", "8192m"), ("--memory-swap", "8192m"),
            ("--shm-size", "4096m"), ("--log-driver", "none"), ("--label", "dicom-warehouse=me"),
            ("-v", "/in:/input:ro"), ("-v", "/out:/output:rw"), ("-v", "/model:/opt/ml/model:ro"),
            ("-v", "/truth:/opt/ml/input/data/ground_truth:ro"),
        ):  # fmt: skip
            assert pair in pairs, (name, pair)
        # Existing images write to their home: the root stays writable, and is thrown away.
        assert "--read-only" not in words
        assert "--rm" in words
    only_podman = {"--pull", "--device", "nvidia.com/gpu=all"}
    assert not only_podman & set(asked["docker"])
    assert not {"--ulimit", "--runtime"} & set(asked["docker"])
    assert {"--gpus", "--init"} <= set(asked["docker"])
    assert only_podman <= set(asked["podman"])
    assert "--gpus" not in asked["podman"]
    assert ("notmpcopyup" in str(asked["podman"]), "notmpcopyup" in str(asked["docker"])) == (
        True,
        False,
    )
    # A docker that is podman is asked as podman.
    shown = [[w for w in asked[n] if "dicom-warehouse-" not in w] for n in ("podman", "both")]
    assert shown[0] == shown[1]
    with pytest.raises(EngineMissing, match="':' in its path"):
        engine.command(image, engines.Mounts(Path("/a:b"), Path("/out")), memory_gb=4)


@pytest.mark.parametrize("program", ["docker", "podman"])
def test_every_option_is_one_that_the_program_has(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed(program)
    engine = engines.Engine(program)
    words = engine.command(
        read_archive(archive(tmp_path / "i.tar")), MOUNTED, memory_gb=8, gpu="T4"
    ).words
    called = words[: words.index("run") + 1]
    told = subprocess.run([*called, "--help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", told))
    # The value after an option may begin with a dash in no case.
    mine = {word for word in words[len(called) :] if word.startswith("-")}
    assert mine - known == set()


def test_an_engine_that_knows_an_image_by_another_id(
    tiny: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker with the image store of containerd: the id is that of the manifest."""
    podman = needed("podman")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "docker"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec echo Docker version 29.0.0\n'
        f'case "$3" in *[!0-9a-f]*) ;; ?*) [ "$2" = inspect ] && exit 1;; esac\nexec {podman} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(engines, "_program", lambda name: str(script))
    path = archive(tmp_path / "i.tar", user="other")
    image = read_archive(path)
    try:
        engine = engines.Engine("docker")
        engine.load(path, image)
        assert engine.command(image, MOUNTED, memory_gb=4).words[-1] == "localhost/tiny:latest"
        # Another process finds it by the name it was given, whatever else is called tiny by then.
        other = engines.Engine("docker")
        other.load(path, image)
        assert (
            other.command(image, MOUNTED, memory_gb=4).words[-1]
            == f"dicom-warehouse:{image.sha256}"
        )
        changed = dataclasses.replace(image, sha256="0" * 64, diff_ids=("sha256:" + "1" * 64,))
        with pytest.raises(EngineMissing, match="does not load the image"):
            engine.load(path, changed)
    finally:
        subprocess.run([podman, "rmi", "-f", image.sha256], check=False, capture_output=True)


@pytest.mark.slow
@pytest.mark.acceptance("G41")
def test_memory_and_processes_are_bounded(
    tiny: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("podman")
    needed("runc")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(engines, "MB_PER_GB", 64)  # a GiB of the request are 64 MiB here
    modes(tiny, "s", "memory", "fork")
    tiny.algorithms.run("look-exec", of_set="s", runner="podman", workers=2, seconds=30)
    end = ends(tiny)
    assert end["memory"][:3] == (
        "Failed",
        "The algorithm was killed because it used more memory than requested",
        137,
    )
    assert end["fork"][0] == "Succeeded"
    assert found(tiny, "fork")["forks"] < engines.PIDS
    assert list((tmp_path / "here").iterdir()) == []  # conmon writes `oom` where it is started


def test_a_job_that_is_cancelled_is_stopped(
    tiny: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    needed("bwrap")
    monkeypatch.setattr(container, "GRACE", 0.2)
    modes(tiny, "s", "hang")
    other = warehouse.open(tiny.root)

    def cancel() -> None:
        for _ in range(200):
            time.sleep(0.1)
            if list((tiny.root / "_jobs").glob("*job-*/output")):
                other.refresh()
                ((job_id,),) = other.sql("select job_id from jobs").fetchall()
                other.algorithms.cancel(job_id, by="me")
                return

    thread = threading.Thread(target=cancel)
    thread.start()
    report = tiny.algorithms.run("look-exec", of_set="s", runner="bwrap", seconds=60)
    thread.join()
    assert (report.cancelled, report.seconds < 30) == (1, True)
    assert tiny.sql("select label, happened_by from job_times where status = 5").fetchall() == [
        ("Cancelled", "me")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["interrupted", "killed", "killed with its keeper"])
def test_nothing_runs_on_after_the_command(tiny: warehouse.Warehouse, how: str) -> None:
    needed("podman")
    needed("runc")
    modes(tiny, "s", "hang")
    words = ["run", "look-exec", "--set", "s", "--runner", "podman", "-w", str(tiny.root)]
    process = subprocess.Popen(
        [sys.executable, "-m", "warehouse", *words], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: len(listed(tiny)) == 1)
    if how == "interrupted":
        process.send_signal(signal.SIGINT)
    else:
        if how == "killed with its keeper":
            (keeper,) = subprocess.run(
                ["pgrep", "-P", str(process.pid), "-f", "keeping.py"],
                capture_output=True, text=True, check=True,
            ).stdout.split()  # fmt: skip
            process.send_signal(signal.SIGSTOP)
            os.kill(int(keeper), signal.SIGKILL)
        process.kill()
    process.wait(30)
    if how == "killed with its keeper":
        assert len(listed(tiny)) == 1
    else:
        until(lambda: listed(tiny) == [])
    if how != "interrupted":
        # The next run ends what is left, and executes the job again.
        tiny.refresh()
        tiny.algorithms.run("look-exec", of_set="s", runner="podman", seconds=1)
        assert tiny.sql("select label, error_message from jobs").fetchall() == [
            ("Failed", "Time limit exceeded")
        ]
        assert left_over(tiny, "podman") == []


def listed(wh: warehouse.Warehouse) -> list[str]:
    """Containers of a warehouse."""
    label = f"label={engines.LABEL}={container.owner_of(wh.root)}"
    words = ["podman", "ps", "-aq", "--filter", label]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def test_an_engine_that_is_missing_says_what_to_install(
    tiny: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_program", lambda name: None)
    for name, package in (("podman", "podman"), ("bwrap", "bubblewrap"), ("docker", "docker.io")):
        with pytest.raises(EngineMissing, match=f"{name} is not installed.*apt install {package}"):
            tiny.algorithms.run("mask-exec", [CT], runner=name)
    with pytest.raises(EngineMissing, match="podman.*or docker, or bubblewrap"):
        tiny.algorithms.run("mask-exec", [CT])
    assert tiny.sql("select count(*) from jobs").fetchall() == [(0,)]
