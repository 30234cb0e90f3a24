"""docs/how-to/serve.md is true: nginx takes its example, names of django_dicom answer, commands exist."""

from __future__ import annotations

import inspect
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

import warehouse
from tests.programs import needed
from tests.server.running import Client, running
from warehouse.cli import serve as cli
from warehouse.cli.run import app
from warehouse.errors import UnknownFilter
from warehouse.server.access import add_token
from warehouse.server.compat import translated

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")


def test_nginx_in_front(sample: warehouse.Warehouse, tmp_path: Path) -> None:
    """The example of the page, without TLS and on a port of this test."""
    nginx = needed("nginx")
    (example,) = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = add_token(tmp_path / "tokens", "viewer", "read")
    with running(
        sample, public_url="https://archive.example.org", audit=tmp_path / "audit",
        tokens=tmp_path / "tokens",
    ) as client:  # fmt: skip
        client.session.headers["Authorization"] = f"Bearer {secret}"
        example = example.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
        example = re.sub(r"    ssl_.*\n", "", example).replace("http://127.0.0.1:8042", client.url)
        paths = "".join(
            f"{name}_temp_path {tmp_path}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "conf").write_text(
            f"daemon off;\nworker_processes 1;\npid {tmp_path}/pid;\nerror_log stderr;\n{'user root;' if Path('/root').exists() else ''}\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{paths}{example}}}\n"
        )
        with subprocess.Popen(
            [nginx, "-c", str(tmp_path / "conf"), "-p", str(tmp_path)], stderr=subprocess.PIPE
        ) as proxy:
            try:
                through = Client(f"http://127.0.0.1:{port}")
                through.session.headers["Host"] = "archive.example.org"
                through.session.headers["Authorization"] = f"Bearer {secret}"
                for _ in range(200):
                    try:
                        found = through.get("/dicomweb/studies?limit=1")
                        break
                    except requests.ConnectionError:
                        assert proxy.poll() is None, proxy.stderr.read() if proxy.stderr else ""
                        time.sleep(0.05)
                (address,) = found.json()[0]["00081190"]["Value"]
                assert address.startswith("https://archive.example.org/dicomweb/studies/")
                study = address.rpartition("/")[2]
                assert (
                    through.get(f"/dicomweb/studies/{study}/metadata").content
                    == client.get(
                        f"/dicomweb/studies/{study}/metadata", Host="archive.example.org"
                    ).content
                )
            finally:
                proxy.terminate()
                proxy.communicate(timeout=20)


def test_options_and_commands_of_the_page_exist() -> None:
    named = set(re.findall(r"dicom-warehouse (serve|token \w+|viewer \w+)", PAGE))
    assert {"serve", "token add", "token list", "token revoke", "viewer install"} <= named
    for command in named:
        node = app
        for word in command.split():
            node = node[word]
    ours = re.sub(r"```dockerfile.*?```|^podman .*?$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    options = set(re.findall(r"(--[a-z][a-z-]+)", ours))
    commands = (cli.serve, cli.add, cli.list_tokens, cli.revoke, cli.install)
    known = {name for command in commands for name in inspect.signature(command).parameters}
    assert options <= {"--" + name.strip("_").replace("_", "-") for name in known}


@pytest.mark.parametrize(("table", "given", "wanted"), [
    ("series", {"echo_time_min": "1", "pixel_spacing_max": "2"}, {"EchoTime__min": "1", "PixelSpacing__max": "2"}),
    ("series", {"date": "week", "time_after": "10:00"}, {"SeriesDate__during": "week", "SeriesTime__min": "10:00"}),
    ("series", {"scanning_sequence": ["SE", "IR"]}, {"ScanningSequence__set": ["SE", "IR"]}),
    ("series", {"study_description": "a,b", "patient__id": "P"}, {"StudyDescription__any": "a,b", "patient_key": "P"}),
    ("studies", {"uid": "1.2", "uid_lookup": "exact"}, {"StudyInstanceUID": "1.2"}),
    ("studies", {"n_series_min": "2", "date_before": "20260101"}, {"series_count__min": "2", "StudyDate__max": "20260101"}),
    ("patients", {"family_name": "x", "family_name_lookup": "icontains"}, {"family_name__icontains": "x"}),
    ("patients", {"family_name": "x"}, {"family_name": "x"}),
    ("patients", {"n_images_max": "3", "sex": "F"}, {"instance_count__max": "3", "PatientSex": "F"}),
    ("instances", {"series_uid": "1", "created_after_date": "20260101"}, {"SeriesInstanceUID__contains": "1", "InstanceCreationDate__min": "20260101"}),
    ("series", {"Modality": "MR", "EchoTime__max": 1}, {"Modality": "MR", "EchoTime__max": 1}),
    ("series", {"description": "x"}, None),
    ("series", {"description_lookup": "exact"}, None),
    ("series", {"header_fields": "[]"}, None),
], ids=range(14))  # fmt: skip
def test_names_of_django_dicom(
    table: str, given: dict[str, object], wanted: dict[str, object] | None
) -> None:
    """Read off its filters (django_dicom/filters)."""
    if wanted is None:
        with pytest.raises(UnknownFilter):
            translated(table, given)
    else:
        assert translated(table, given) == wanted
