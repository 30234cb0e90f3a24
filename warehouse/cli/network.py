"""``listen`` and ``fetch``: DICOM over the network. They import pynetdicom when they run."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warehouse.cli.app import DEFAULT_WAREHOUSE, Root, opened
from warehouse.cli.document import send_document
from warehouse.cli.intake import print_report
from warehouse.errors import NotInstalled

if TYPE_CHECKING:
    from warehouse.listener.settings import Tls

Many = Annotated[list[str] | None, Parameter(negative="")]
Flag = Annotated[bool, Parameter(negative="")]


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
    """Receive DICOM over the network, ingest it, and answer queries, until stopped.

    C-STORE succeeds after the object is on disk. Objects are ingested in batches and stay in the
    spool: its files are the sources of the warehouse. `state.json` in the spool has the state.

    Example: `dicom-warehouse listen --aet ARCHIVE --allow CT1 --allow PACS`

    Parameters
    ----------
    port
        Port to listen on; 0 selects a free one.
    aet
        Application entity title of this listener.
    host
        Address to listen on; by default only this machine can connect.
    allow
        AE title that may connect; may be repeated. By default any that reaches the port.
    tls
        Files: certificate, key, and CA certificates for those of peers; with `none` as the third,
        peers need no certificate.
    destination
        Permitted destination of C-MOVE, as AET=host:port; may be repeated.
    spool
        Folder of received files; by default `<warehouse>-received/<aet>`.
    sop_class
        UID of a private or newer SOP class to receive, too; may be repeated.
    queries
        Answer C-FIND, C-MOVE and C-GET.
    ingest
        Ingest received files; otherwise another job must, such as Dagster, from the spool.
    mode
        Which elements become rows: full, normal or minimal.
    batch_files
        Ingest when this many files wait.
    batch_seconds
        Ingest when the first waiting file was received this many seconds ago.
    associations
        Maximum number of concurrent associations.
    object_bytes
        Maximum size of a received data set, in bytes.
    network_seconds
        Seconds that a peer may be silent.
    as_json
        Print address, port and spool as a JSON object.
    quiet
        Log nothing to stderr.
    """
    require_pynetdicom()
    from warehouse.listener.listener import Listener
    from warehouse.listener.settings import ListenerSettings, Peer

    peers = [Peer.parse(text, "=") for text in destination or ()]
    settings = ListenerSettings(
        aet=aet, port=port, host=host, allow=tuple(allow or ()), tls=_tls(tls),
        sop_classes=tuple(sop_class or ()), destinations={each.aet: each for each in peers},
        queries=queries, ingest=ingest, mode=mode, batch_files=batch_files,
        batch_seconds=batch_seconds, associations=associations, object_bytes=object_bytes,
        network_seconds=network_seconds,
    )  # fmt: skip
    if not quiet:
        log_to_stderr()
    listener = Listener(opened(warehouse), settings, spool)
    try:
        where = {"aet": settings.aet, "host": host, "port": listener.port}
        if as_json:
            send_document(where | {"spool": listener.spool})
        else:
            print(
                f"{settings.aet} listens on {host}:{listener.port}, receiving into "
                f"{listener.spool}", flush=True,
            )  # fmt: skip
        threading.Event().wait()
    finally:
        # The next listener ingests waiting files: there is little time after a signal.
        listener.stop(hand_over=False)
    return 0


def fetch(
    peer: str,
    /,
    *,
    study: list[str],
    series: Many = None,
    warehouse: Root = DEFAULT_WAREHOUSE,
    aet: str = "WAREHOUSE",
    port: int = 11112,
    host: str = "127.0.0.1",
    to: str = "",
    get: Flag = False,
    tls: tuple[str, str, str] | None = None,
    spool: Path | None = None,
    mode: Annotated[str, Parameter(env_var="DICOM_WAREHOUSE_MODE")] = "full",
    seconds: float = 300.0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Retrieve studies from another archive and ingest them; exit with 1 if some are missing.

    It uses C-MOVE: the command listens meanwhile, and the archive must know its AE title, address
    and port.

    Example: `dicom-warehouse fetch PACS@10.0.0.5:104 --study 1.2.3 --aet ARCHIVE --host 0.0.0.0`

    Parameters
    ----------
    peer
        The archive, as AET@host:port.
    study
        StudyInstanceUID; may be repeated.
    series
        SeriesInstanceUID, if not all series are required; may be repeated.
    aet
        Application entity title of this command.
    port
        Port to listen on meanwhile.
    host
        Address to listen on meanwhile.
    to
        AE title of a running listener that receives and ingests instead.
    get
        Use C-GET: over one association, uncompressed.
    tls
        Files: certificate, key, and CA certificates for those of peers.
    spool
        Folder of received files; by default `<warehouse>-received/<aet>`.
    mode
        Which elements become rows: full, normal or minimal.
    seconds
        Seconds that the archive may take between two responses.
    as_json
        Print one JSON object instead of the report.
    """
    require_pynetdicom()
    from warehouse.listener import fetching
    from warehouse.listener.settings import ListenerSettings, Peer

    settings = ListenerSettings(
        aet=aet, port=port, host=host, tls=_tls(tls), queries=False, mode=mode
    )  # fmt: skip
    wh = opened(warehouse)
    done = fetching.fetch(
        wh, Peer.parse(peer), study, series or (), settings=settings, spool=spool, to=to,
        by_get=get, seconds=seconds,
    )  # fmt: skip
    if as_json:
        send_document({
            "completed": done.completed, "failed": done.failed, "warned": done.warned,
            "received": done.received, "created": done.report.created if done.report else None,
        })  # fmt: skip
    else:
        received = "" if done.received is None else f", {done.received:,} received"
        print(f"{done.completed:,} sent, {done.failed:,} failed, {done.warned:,} warned{received}")
        if done.ended:
            print(f"the archive {done.ended}")
        if done.report:
            print_report(done.report, wh.url)
    return 0 if done.is_whole else 1


def _tls(files: tuple[str, str, str] | None) -> Tls | None:
    from warehouse.listener.settings import Tls

    if files is None:
        return None
    certificate, key, authorities = files
    return Tls(Path(certificate), Path(key), None if authorities == "none" else Path(authorities))


def require_pynetdicom() -> None:
    """Raise if pynetdicom is missing; suppress pydicom's warnings, which quote values."""
    if find_spec("pynetdicom") is None:
        raise NotInstalled("DICOM over the network", "pynetdicom", "dimse")
    warnings.filterwarnings("ignore", module="pydicom")


def log_to_stderr() -> None:
    """Log associations and refusals of listeners to stderr."""
    log = logging.getLogger("warehouse.listener")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
