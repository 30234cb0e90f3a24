"""``listen`` and ``fetch``: DICOM over the network. pynetdicom is imported when they run."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from warehouse.cli.app import DEFAULT_WAREHOUSE, NETWORK, Root, app, opened
from warehouse.errors import NotInstalled

Many = Annotated[list[str] | None, Parameter(negative="")]
Flag = Annotated[bool, Parameter(negative="")]


@app.command(group=NETWORK)
def listen(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    port: int = 11112,
    aet: str = "WAREHOUSE",
    host: str = "127.0.0.1",
    allow: Many = None,
    tls: tuple[str, str, str] | None = None,
    destination: Many = None,
    spool: Path | None = None,
    sop_class: Many = None,
    queries: bool = True,
    ingest: bool = True,
    mode: Annotated[str, Parameter(env_var="DICOM_WAREHOUSE_MODE")] = "full",
    batch_files: int = 500,
    batch_seconds: float = 30.0,
    associations: int = 16,
    object_bytes: int = 4 << 30,
    network_seconds: float = 60.0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    quiet: Flag = False,
) -> int:
    """Receive DICOM over the network into the warehouse, and answer queries, until stopped.

    What a sender was told to be stored is on disk. It is ingested in batches and stays where it
    was received: its files are the sources of the warehouse. State: `state.json` of the spool.

    Example: `dicom-warehouse listen --aet ARCHIVE --host 0.0.0.0 --allow CT1 --allow PACS`

    Parameters
    ----------
    port
        Port to listen on; 0 takes a free one.
    aet
        Application entity title of this side.
    host
        Address to listen on; by default this machine only can connect.
    allow
        AE title that may call; may be repeated. Without, everybody who reaches the port.
    tls
        Certificate, key, and certificates of those who sign certificates of peers; `-` as the
        third asks peers for none.
    destination
        Where C-MOVE may send, as AET=host:port; may be repeated.
    spool
        Folder of received files; by default `<warehouse>-received/<aet>`.
    sop_class
        UID of a private or newer SOP class to receive, too; may be repeated.
    queries
        Answer C-FIND, C-MOVE and C-GET.
    ingest
        Ingest what was received; otherwise another job does, as Dagster, from the spool.
    mode
        Which elements become rows: full, normal or minimal.
    batch_files, batch_seconds
        Ingest when so many files wait, or the first one has waited so long.
    associations
        Most associations at once.
    object_bytes
        Longest data set to receive.
    network_seconds
        How long a peer may be silent.
    as_json
        Print where it listens as a JSON object.
    quiet
        Log nothing to stderr.
    """
    _require_pynetdicom()
    from warehouse.listener.listener import Listener  # noqa: PLC0415 - slow, and an extra
    from warehouse.listener.settings import ListenerSettings, Peer, Tls  # noqa: PLC0415

    peers = [Peer.parse(text, "=") for text in destination or ()]
    files = None
    if tls:
        files = Tls(Path(tls[0]), Path(tls[1]), None if tls[2] == "-" else Path(tls[2]))
    settings = ListenerSettings(
        aet=aet, port=port, host=host, allow=tuple(allow or ()), tls=files,
        sop_classes=tuple(sop_class or ()), destinations={each.aet: each for each in peers},
        queries=queries, ingest=ingest, mode=mode, batch_files=batch_files,
        batch_seconds=batch_seconds, associations=associations, object_bytes=object_bytes,
        network_seconds=network_seconds,
    )  # fmt: skip
    if not quiet:
        _log_to_stderr()
    listener = Listener(opened(warehouse), settings, spool)
    try:
        where = {"aet": settings.aet, "host": host, "port": listener.port}
        if as_json:
            print(json.dumps(where | {"spool": str(listener.spool)}), flush=True)
        else:
            print(
                f"{settings.aet} listens on {host}:{listener.port}, receiving into "
                f"{listener.spool}", flush=True,
            )  # fmt: skip
        threading.Event().wait()
    finally:
        # What waits is ingested by the next listener: a signal gives little time.
        listener.stop(hand_over=False)
    return 0


def _require_pynetdicom() -> None:
    """Say which extra is missing; let pydicom's warnings, which quote values, go nowhere."""
    if find_spec("pynetdicom") is None:
        raise NotInstalled("DICOM over the network", "pynetdicom", "dimse")
    warnings.filterwarnings("ignore", module="pydicom")


def _log_to_stderr() -> None:
    log = logging.getLogger("warehouse.listener")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
