"""Real containers: podman where it is installed, bubblewrap, and images that misbehave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import CT
from tests.algorithms.test_artifacts import model
from tests.algorithms.tiny_images import archive, python_layer
from tests.programs import needed
from warehouse.algorithms import container, engines
from warehouse.errors import EngineMissing

if sys.platform != "linux":
    pytest.skip("containers are a thing of Linux", allow_module_level=True)


@pytest.fixture(scope="session")
def images(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse with two images and their algorithms. Not to be changed: take ``tiny``."""
    folder = tmp_path_factory.mktemp("images")
    shutil.copytree(template, folder / "w")
    wh = warehouse.open(folder / "w")
    wh.components.create_socket(title="Look", kind="JSON", relative_path="look.json")
    parts = wh.algorithms
    weights = parts.add_model(model(folder / "w.tar.gz"), parent="look").artifact_id
    for method in ("exec", "invoke"):
        path = archive(
            folder / f"{method}.tar", layer=python_layer(), method=method, layout="docker25"
        )
        image = parts.add_image(path, parent=method).artifact_id
        parts.create(
            f"look-{method}", "mode -> look", image=image, model=weights, requires_memory_gb=4
        )
        parts.create(f"mask-{method}", "ct -> mask, mean-value", image=image, requires_memory_gb=4)
        parts.create(f"both-{method}", "ct, mode -> mask", image=image, requires_memory_gb=4)
    wh.close()
    return folder / "w"


@pytest.fixture
def tiny(images: Path, tmp_path: Path) -> warehouse.Warehouse:
    shutil.copytree(images, tmp_path / "w", copy_function=os.link)
    return warehouse.open(tmp_path / "w")


def ready(runner: str) -> None:
    """Skip the test if a runner is not installed, or may not make what separates a container."""
    needed(runner)
    if runner == "podman":
        needed("runc")
    tried = [needed("unshare"), "--mount", "--net", "--pid", "--fork", "true"]
    if subprocess.run(tried, check=False, capture_output=True).returncode != 0:
        pytest.skip("this process may not make namespaces, as containers need them")


SLOW = pytest.mark.slow


def modes(wh: warehouse.Warehouse, name: str, *some: str) -> None:
    from warehouse.components.values import Given

    added = wh.components.add_values([Given("mode", mode) for mode in some])
    from warehouse.components.sets import put_items

    put_items(
        wh.root, name, {mode: {"mode": one.value_id} for mode, one in zip(some, added, strict=True)}
    )


def ends(wh: warehouse.Warehouse) -> dict[str, tuple]:
    rows = wh.sql(
        "select split_part(item, '/', 2), label, error_message, exit_code, stderr, is_warning from jobs"
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def found(wh: warehouse.Warehouse, mode: str) -> dict:
    ((text,),) = wh.sql(
        "select value from jobs join job_outputs using (job_id) where item = $1", [f"s/{mode}"]
    ).fetchall()
    return json.loads(text)


@pytest.mark.acceptance("G49")
@pytest.mark.acceptance("G51")
@pytest.mark.parametrize("runner", ["podman", pytest.param("bwrap", marks=SLOW)])
def test_an_image_runs_as_it_is(
    tiny: warehouse.Warehouse, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(runner)
    monkeypatch.setattr(container, "GRACE", 1.0)
    modes(tiny, "s", "look", "fail", "exit137", "link", "shout", "hang")
    report = tiny.algorithms.run("look-exec", of_set="s", runner=runner, workers=2, seconds=4)
    assert (report.succeeded, report.failed) == (2, 4)
    inside = found(tiny, "look")
    assert inside == {
        "uid": 1000, "networks": ["lo"], "tmp": [], "input_is_writable": False, "env": "yes",
        "model": ["weights.bin"], "capabilities": ["0" * 16], "home": "/home/user",
    }  # fmt: skip
    end = ends(tiny)
    # What it says may be secret: it is in the log, not in the message.
    assert end["fail"][:3] == (
        "Failed",
        "the algorithm ended with exit code 7; its log says more",
        7,
    )
    assert end["fail"][3] == "secret of the model"
    assert end["exit137"][:3] == ("Failed", "the algorithm ended with exit code 137", 137)
    assert end["link"][1] == "output 'Look': look.json is a link, which is not followed"
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


def left_over(wh: warehouse.Warehouse, runner: str) -> list[str]:
    """Containers, and folders of jobs."""
    names = [
        p.name for p in (wh.root / "_jobs").iterdir() if "job-" in p.name or "session" in p.name
    ]
    if runner == "podman":
        label = f"label={engines.LABEL}={container.owner_of(wh.root)}"
        listed = subprocess.run(
            ["podman", "ps", "-aq", "--filter", label], capture_output=True, text=True, check=True
        )
        names += listed.stdout.split()
    return names


@pytest.mark.parametrize("runner", ["bwrap", pytest.param("podman", marks=SLOW)])
def test_one_process_answers_twenty_cases(
    tiny: warehouse.Warehouse, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(runner)
    monkeypatch.setattr(container, "GRACE", 1.0)
    from warehouse.components.values import Given

    tiny.components.create_socket(title="Number", kind="INT", relative_path="number.json")
    image = tiny.algorithms.find("look-invoke").image_id
    tiny.algorithms.create("many", "mode, number -> look", image=image, requires_memory_gb=4)
    names = ["fail" if n == 3 else "hang" if n == 15 else "count" for n in range(20)]
    added = tiny.components.add_values(
        [Given("mode", m) for m in names] + [Given("number", n) for n in range(20)]
    )
    from warehouse.components.sets import put_items

    items = {
        f"{n:02}": {"mode": added[n].value_id, "number": added[20 + n].value_id} for n in range(20)
    }
    put_items(tiny.root, "s", items)
    report = tiny.algorithms.run("many", of_set="s", runner=runner, seconds=3)
    assert (report.succeeded, report.failed) == (18, 2)
    end = ends(tiny)
    assert end["03"][1] == "the algorithm answered with HTTP status 500"
    assert end["15"][1] == "Time limit exceeded"
    looked = [found(tiny, f"{n:02}") for n in range(20) if names[n] == "count"]
    # One process until the case that did not answer, another one after it.
    assert len({each["pid"] for each in looked[:14]}) == 1
    assert [each["cases"] for each in looked[:4]] == [1, 2, 3, 5]
    assert [each["cases"] for each in looked[-4:]] == [1, 2, 3, 4]
    assert left_over(tiny, runner) == []


@pytest.mark.slow
@pytest.mark.acceptance("G41")
def test_memory_and_processes_are_bounded(
    tiny: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("podman")
    needed("runc")
    monkeypatch.setattr(engines, "MB_PER_GB", 64)  # a GiB of the request are 64 MiB here
    modes(tiny, "s", "memory", "fork")
    tiny.algorithms.run("look-exec", of_set="s", runner="podman", workers=2, seconds=30)
    end = ends(tiny)
    assert end["memory"][:3] == (
        "Failed",
        "The algorithm was killed because it used more memory than it asked for",
        137,
    )
    assert end["fork"][0] == "Succeeded"
    assert found(tiny, "fork")["forks"] < engines.PIDS


def test_a_job_that_is_cancelled_is_stopped(
    tiny: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    needed("bwrap")
    monkeypatch.setattr(container, "GRACE", 0.5)
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
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_runs_on_after_the_command(tiny: warehouse.Warehouse, how: signal.Signals) -> None:
    needed("podman")
    needed("runc")
    modes(tiny, "s", "hang")
    command = [
        sys.executable,
        "-m",
        "warehouse",
        "run",
        "look-exec",
        "--set",
        "s",
        "--runner",
        "podman",
        "-w",
        str(tiny.root),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    label = f"label={engines.LABEL}={container.owner_of(tiny.root)}"
    listed = ["podman", "ps", "-q", "--filter", label]
    for _ in range(300):
        time.sleep(0.1)
        if subprocess.run(listed, capture_output=True, text=True, check=True).stdout.strip():
            break
    process.send_signal(how)
    process.wait(30)
    if how == signal.SIGKILL:
        # The next run ends what was left, and executes the job again.
        tiny.refresh()
        tiny.algorithms.run("look-exec", of_set="s", runner="podman", seconds=1)
        assert tiny.sql("select label from jobs").fetchall() == [("Failed",)]
    for _ in range(100):
        if not subprocess.run(
            ["podman", "ps", "-aq", "--filter", label], capture_output=True, text=True, check=True
        ).stdout:
            break
        time.sleep(0.1)
    assert [name for name in left_over(tiny, "podman") if len(name) == 12] == []


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
