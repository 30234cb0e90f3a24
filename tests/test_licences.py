"""docs/licences.md says the license of everything that is needed at run time; only [gpl] is under the GPL."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.test_locks import _pins

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PERMISSIVE = re.compile(
    r"(MIT|MIT-0|MIT-CMU|BSD|BSD-[23]-Clause|0BSD|Apache-2\.0|PSF-2\.0|ISC|Zlib|CC0-1\.0|MPL-2\.0|Unlicense)"
)


def table() -> dict[str, tuple[str, str]]:
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z0-9][a-z0-9-]*) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    return {name: (said, by) for name, said, by in rows if name != "package"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("licences", ROOT / "docs" / "licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_dependency_is_listed_with_its_license(script):
    pins = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin, _ in _pins("dev")
    }
    listed, compared, needed = table(), 0, script.needed()
    # What a package is needed by is what the versions of the others say.
    is_locked = all(distribution(name).version == pins.get(name) for name in needed)
    for name, extras in needed.items():
        if distribution(name).version == pins.get(name):  # others may say other things
            assert name in listed, f"{name} is not in docs/licences.md: run make licences"
            said, by = listed[name]
            assert said == script.license_of(name), f"{name}: run make licences"
            if is_locked:
                assert set(by.split(", ")) == ({"always"} if "" in extras else extras), name
            compared += 1
    assert compared
    assert set(listed) <= set(pins)


def test_every_extra_is_for_running_or_for_working_on_the_project(script):
    working = {"bench", "dev", "docs"}
    assert set(script.EXTRAS) - {""} == set(PROJECT["optional-dependencies"]) - working


def test_only_the_extra_gpl_is_under_the_gpl():
    listed = table()
    assert len(listed) > 80
    for name, (said, by) in listed.items():
        if by == "gpl":
            continue
        parts = re.split(r" (?:AND|OR) ", said)
        assert all(PERMISSIVE.fullmatch(part) for part in parts), f"{name}: {said}"
    assert listed["pylibjpeg-libjpeg"] == ("GPL-3.0", "gpl")


def test_the_license_is_the_one_that_the_metadata_names():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE", "NOTICE"]
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_citation_names_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {PROJECT['version']}\n" in text
    assert f"\nlicense: {PROJECT['license']}\n" in text
    assert text.startswith("cff-version: 1.2.0\n")
