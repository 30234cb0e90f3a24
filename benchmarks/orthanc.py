"""What the same question costs Debian's Orthanc: /metadata of one series, by its DICOMweb plugin.

    unshare --net sh -c 'ip link set lo up && python benchmarks/orthanc.py FOLDER'

Run by ``server.py`` in a network namespace, for this version of Orthanc listens on every address of
the machine. Stores the files of a folder, asks, and prints processor seconds as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

URL = "http://127.0.0.1:8049"
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")
PLUGIN = "libOrthancDicomWeb.so"


def plugin() -> Path | None:
    """Return the file of the DICOMweb plugin."""
    found = (path for folder in PLUGINS for path in Path(folder).glob(f"{PLUGIN}*"))
    return next(iter(sorted(found)), None)


def missing() -> str:
    """Return what is not installed; empty if all is."""
    wanted = {"orthanc": shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin")}
    wanted |= {"orthanc-dicomweb": plugin(), "util-linux": shutil.which("unshare")}
    return ", ".join(name for name, found in wanted.items() if not found)


def measured(folder: Path, path: str, rounds: int) -> dict[str, object]:
    """Ask Orthanc in a network namespace of its own; return what ``main`` prints.

    Parameters
    ----------
    folder
        Files of one series.
    path
        Of its metadata, below the address of the DICOMweb service.
    rounds
        Questions after the first one.
    """
    alone = 'ip link set lo up && exec "$0" "$@"'
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        ["unshare", *as_root, "--net", "sh", "-c", alone, sys.executable, __file__, str(folder),
         "--path", path, "--rounds", str(rounds)],
        capture_output=True, text=True, check=False, timeout=3600,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
    told: dict[str, object] = json.loads(done.stdout)
    return told


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Start Orthanc, store, ask, and print."""
    parser = argparse.ArgumentParser(description="Ask Orthanc for the headers of a series.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--path", default="studies/1.2.3/series/1.2.3.1/metadata")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        settings = {
            "StorageDirectory": scratch, "IndexDirectory": scratch, "HttpPort": 8049,
            "DicomServerEnabled": False, "RemoteAccessAllowed": False, "Plugins": [str(plugin())],
            "AuthenticationEnabled": False, "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }  # fmt: skip
        configuration = Path(scratch) / "orthanc.json"
        configuration.write_text(json.dumps(settings))
        with subprocess.Popen(
            ["Orthanc", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                print(json.dumps(_asked(process.pid, given.folder, given.path, given.rounds)))
            finally:
                process.terminate()
                process.wait(60)


def _asked(pid: int, folder: Path, path: str, rounds: int) -> dict[str, object]:
    session = requests.Session()
    session.trust_env = False
    for _ in range(600):
        with contextlib.suppress(requests.ConnectionError):
            version = session.get(f"{URL}/system", timeout=5).json()["Version"]
            break
        time.sleep(0.1)
    else:
        raise RuntimeError("Orthanc does not answer")
    for file in sorted(folder.iterdir()):
        session.post(f"{URL}/instances", data=file.read_bytes(), timeout=60).raise_for_status()
    spent, count, size = [], 0, 0
    for _ in range(rounds + 1):
        before = cpu_seconds(pid)
        answer = session.get(
            f"{URL}/dicom-web/{path}", headers={"Accept": "application/dicom+json"}, timeout=600
        )
        spent.append(cpu_seconds(pid) - before)
        answer.raise_for_status()
        count, size = len(answer.json()), len(answer.content)
    return {"version": version, "seconds": spent, "instances": count, "bytes": size}


if __name__ == "__main__":
    main()
