"""Images that tests run, and what became of the jobs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.tiny_images import archive, model, python_layer
from tests.programs import needed
from warehouse.algorithms import container, engines
from warehouse.algorithms.archives import read_archive
from warehouse.algorithms.bubblewrap import Bubblewrap
from warehouse.algorithms.tasks import FOLDER
from warehouse.components.sets import put_items
from warehouse.components.values import Given


def make_images(template: Path, folder: Path) -> Path:
    """The warehouse with two images and their algorithms."""
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
        if shutil.which("bwrap"):
            # So that each test has it already, as a second run of an algorithm has.
            Bubblewrap(wh.root / FOLDER / "images").load(path, read_archive(path))
    wh.close()
    return folder / "w"


def ready(runner: str) -> None:
    """Skip the test if a runner is not installed, or may not make what separates a container."""
    needed(runner)
    if runner == "podman":
        needed("runc")
    tried = [needed("unshare"), "--mount", "--net", "--pid", "--fork", "true"]
    if subprocess.run(tried, check=False, capture_output=True).returncode != 0:
        pytest.skip("this process may not make namespaces, as containers need them")


def modes(wh: warehouse.Warehouse, name: str, *some: str) -> None:
    added = wh.components.add_values([Given("mode", mode) for mode in some])
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
