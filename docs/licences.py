"""Write docs/licences.md: every package that the package needs when it runs, and its license.

From the metadata of what is installed, so without a network: `make licences`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "dicom-warehouse"
EXTRAS = ("", "pixels", "pipelines", "dask", "s3", "components", "evaluation", "deidentify", "server", "dimse", "gpl")
"""What is needed at run time; the others are for working on the project."""
UNKNOWN = "not stated"
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause", "BSD 3-Clause License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0", "Apache License Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0", "MIT license": "MIT", "MIT License": "MIT",
    "GPL V3.0": "GPL-3.0", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0", "BSD License": "BSD", "Dual License": "",
}  # fmt: skip
"""Names in older metadata: the identifier, or nothing where a classifier says more."""

HEAD = """\
# Licenses

dicom-warehouse is under the [Apache License 2.0](../LICENSE). Below is what it needs when it runs, with what that
needs in turn, and which extra brings it. The license is what the metadata of the package says, with SPDX identifiers
where it can be known which is meant; libraries inside of wheels are not in it, and `pip show -f PACKAGE` lists their texts.

Everything but the extra `gpl` is permissive, or weak copyleft for its own files (MPL-2.0: `certifi`, `tqdm`). `gpl` is
`pylibjpeg-libjpeg`, a JPEG decoder that nothing else needs: [who decodes](how-to/pixels.md#who-decodes).

Written by `make licences` from what is installed; not to be edited.

"""


def license_of(name: str) -> str:
    """Return the license of an installed package: the expression, the field, or the classifiers."""
    metadata = distribution(name).metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    field = (metadata.get("License") or "").strip().partition("\n")[0].strip()
    if field in SPDX and SPDX[field]:
        return SPDX[field]
    if field and field not in SPDX and len(field) < 20:
        return field
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or []
        if text.startswith("License :: ")
    ]
    return " OR ".join(SPDX.get(said) or said for said in classifiers) or SPDX.get(field) or UNKNOWN


def needed() -> dict[str, set[str]]:
    """Return the packages that are needed at run time and installed, with the extras that bring them."""
    found: dict[str, set[str]] = {}
    for extra in EXTRAS:
        waiting, seen = [Requirement(f"{PROJECT}[{extra}]" if extra else PROJECT)], set()
        while waiting:
            wanted = waiting.pop()
            key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
            if key in seen:
                continue
            seen.add(key)
            try:
                requires = distribution(wanted.name).requires or []
            except PackageNotFoundError:  # not for this platform
                continue
            if key[0] != PROJECT:
                found.setdefault(key[0], set()).add(extra)
            for text in requires:
                requirement = Requirement(text)
                marker = requirement.marker
                if marker is None or any(
                    marker.evaluate({"extra": one}) for one in (*wanted.extras, "")
                ):
                    waiting.append(requirement)
    return found


def rows() -> list[str]:
    """Return the lines of the table."""
    return [
        f"| {name} | {license_of(name)} | {'always' if '' in by else ', '.join(sorted(by))} |"
        for name, by in sorted(needed().items())
    ]


def text() -> str:
    """Return docs/licences.md."""
    return HEAD + "\n".join(["| package | license | needed by |", "| --- | --- | --- |", *rows(), ""])


if __name__ == "__main__":
    Path(__file__).with_name("licences.md").write_text(text(), encoding="utf-8")
