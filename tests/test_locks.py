"""What ``make`` installs is what ``pyproject.toml`` asks for, on every Python that it supports."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ["3.11", "3.12", "3.13"]
# lock file: the extras that it holds; `dicom-warehouse[x]` inside an extra counts as x
LOCKS = {"package": ["pixels"], "dev": ["dev"], "bench": ["bench"], "docs": ["docs", "pixels"]}


@cache
def _pins(lock: str) -> tuple[tuple[Requirement, int], ...]:
    """Return every pin of a lock with the number of its hashes."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return tuple(
        (
            Requirement(line.split(" --hash")[0]),
            len(re.findall(r"--hash=sha256:[0-9a-f]{64}", line)),
        )
        for line in lines
    )


def _wanted(extras: list[str]) -> list[Requirement]:
    found = [Requirement(text) for text in PROJECT["dependencies"]]
    waiting, seen = list(extras), set()
    while waiting:
        extra = waiting.pop()
        if extra not in seen:
            seen.add(extra)
            for text in PROJECT["optional-dependencies"][extra]:
                requirement = Requirement(text)
                if requirement.name == PROJECT["name"]:
                    waiting += sorted(requirement.extras)
                else:
                    found.append(requirement)
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_what_pyproject_asks_for(lock: str, python: str) -> None:
    environment = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.1",
    }
    pins = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin, _ in _pins(lock)
        if pin.marker is None or pin.marker.evaluate(environment)
    }
    for wanted in _wanted(LOCKS[lock]):
        name = canonicalize_name(wanted.name)
        assert name in pins, f"{name} is not in locks/{lock}.txt: run make lock"
        assert wanted.specifier.contains(pins[name]), f"{wanted} but {pins[name]}: run make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_one_version_and_hashes(lock: str) -> None:
    for pin, hashes in _pins(lock):
        assert [s.operator for s in pin.specifier] == ["=="], pin
        assert hashes > 0, pin


def test_every_extra_is_in_a_lock() -> None:
    held, waiting = set(), [extra for extras in LOCKS.values() for extra in extras]
    while waiting:
        extra = waiting.pop()
        held.add(extra)
        for text in PROJECT["optional-dependencies"][extra]:
            if (requirement := Requirement(text)).name == PROJECT["name"]:
                waiting += requirement.extras - held
    assert held == set(PROJECT["optional-dependencies"])
