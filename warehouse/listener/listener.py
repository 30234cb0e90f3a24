"""Receive DICOM on a port into a warehouse, and answer queries.

In: a warehouse and settings. Out: files in the spool, ingested in batches, and responses. Any
number of listeners may run in one process, each with its own port and spool.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import (
    ALL_TRANSFER_SYNTAXES,
    AllStoragePresentationContexts,
    build_context,
    evt,
)
from pynetdicom.service_class import ServiceClass, StorageServiceClass
from pynetdicom.sop_class import register_uid, uid_to_service_class

from warehouse.counted import counted
from warehouse.errors import CannotListen, UsageError, WarehouseError, cause_of
from warehouse.listener.find import PATIENT_ROOT, STUDY_ROOT, find
from warehouse.listener.received import NotStored
from warehouse.listener.retrieve import Entity, get, move
from warehouse.listener.server import Server
from warehouse.listener.spool import Spool, default_spool
from warehouse.listener.state import HEARTBEAT_SECONDS, State, write_state

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event
    from pynetdicom.presentation import PresentationContext

    from warehouse.api import Warehouse
    from warehouse.listener.received import Provider, Received
    from warehouse.listener.settings import ListenerSettings

LOG = logging.getLogger("warehouse.listener")

SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700
VERIFICATION = "1.2.840.10008.1.1"

_LEAST_PREFERRED = (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
SYNTAXES: list[str | UID] = [
    ExplicitVRLittleEndian,
    *(
        each
        for each in ALL_TRANSFER_SYNTAXES
        if each not in {*_LEAST_PREFERRED, ExplicitVRLittleEndian}
    ),
    *_LEAST_PREFERRED,
]
"""All transfer syntaxes, in the order of preference for a presentation context."""

TICK_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 60.0
"""Limit of the pause after a failed hand-over; each failure doubles the pause."""


class Listener:
    """Receives DICOM into a warehouse.

    Parameters
    ----------
    wh
        The warehouse, which the first ingest creates if it does not exist.
    settings
        AE title, address and limits.
    spool
        Folder of received files, by default beside the warehouse.

    Raises
    ------
    CannotListen, SpoolInUse, UsageError

    Examples
    --------
    ::

        with Listener(wh, ListenerSettings(aet="ARCHIVE")) as listener:
            print(listener.state().received)
    """

    def __init__(
        self, wh: Warehouse, settings: ListenerSettings, spool: str | os.PathLike[str] | None = None
    ) -> None:
        self._wh, self.settings = wh, settings
        self._spool = opened_spool(wh, settings.aet, spool)
        self._counts: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._last_received: str | None = None
        self._last_error: str | None = None
        self._since = _now()
        self._stopping = threading.Event()
        self._handing_over = threading.Lock()
        try:
            self._server = self._bind()
        except BaseException:
            self._spool.close()
            raise
        self.port = int(self._server.server_address[1])
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(TICK_SECONDS,), daemon=True),
            threading.Thread(target=self._work, daemon=True),
            threading.Thread(target=self._report, daemon=True),
        ]
        self._write_state()
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def spool(self) -> Path:
        """Folder of received files; its subfolder ``files`` is a source like any other."""
        return self._spool.root

    def state(self) -> State:
        """Return the current state: counts and last error."""
        with self._guard:
            counts, running = self._counts, not self._stopping.is_set()
            return State(
                aet=self.settings.aet, host=self.settings.host, port=self.port,
                spool=str(self.spool), since=self._since, is_running=running,
                associations=len(self._server.active_associations) if running else 0,
                received=counts["received"], refused=counts["refused"],
                waiting=self._spool.waiting, created=counts["created"],
                last_received=self._last_received, updated=_now(), last_error=self._last_error,
            )  # fmt: skip

    def stop(self, *, hand_over: bool = True) -> None:
        """Stop accepting, end associations, and release the spool.

        Parameters
        ----------
        hand_over
            Ingest the waiting files; else the next listener with this spool does.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._server.shutdown()
        for association in self._server.active_associations:
            # pynetdicom cannot handle an abort while it closes an aborted connection.
            if not association.is_aborted:
                association.abort()
        for thread in self._threads:
            thread.join()
        if hand_over and self.settings.ingest:
            self._try_hand_over(everything=False)
        self._write_state()
        self._spool.close()

    # -- server ---------------------------------------------------------------------------------

    def _bind(self) -> Server:
        settings = self.settings
        entity = Entity(settings.aet)
        entity.maximum_associations = settings.associations
        entity.maximum_pdu_size = settings.pdu_bytes
        entity.network_timeout = settings.network_seconds
        entity.acse_timeout = entity.dimse_timeout = settings.network_seconds
        entity.require_calling_aet = list(settings.allow)
        handlers: list[Any] = [
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_CONN_CLOSE, _discard),
            (evt.EVT_REJECTED, partial(self._log, "refused")),
            (evt.EVT_ESTABLISHED, partial(self._log, "began")),
            (evt.EVT_RELEASED, partial(self._log, "was released")),
            (evt.EVT_ABORTED, partial(self._log, "was aborted")),
        ]
        if settings.queries:
            handlers += [
                (evt.EVT_C_FIND, find, [self._wh]),
                (evt.EVT_C_GET, get, [self._wh]),
                (evt.EVT_C_MOVE, move, [self._wh, settings]),
            ]
        tls = settings.tls.context() if settings.tls else None
        try:
            return Server(
                entity, address=(settings.host, settings.port), ae_title=settings.aet,
                contexts=supported(settings.sop_classes, queries=settings.queries),
                ssl_context=tls, evt_handlers=handlers, spool=self._spool, settings=settings,
                failed=self._record_failure,
            )  # fmt: skip
        except OSError as error:
            why = error.strerror or str(error)
            raise CannotListen(settings.host, settings.port, why.lower()) from error

    def _log(self, event_name: str, event: Event) -> None:
        """Log an event of an association: AE title and address, no value of a data set."""
        peer = event.assoc.requestor
        LOG.info("association of %r from %s %s", peer.ae_title, peer.address, event_name)

    def _store(self, event: Event) -> Dataset | int:
        """Answer a C-STORE: success once the file is on disk."""
        caller = event.assoc.requestor.ae_title.strip()
        try:
            _data_set(event).keep(self._spool, caller)
        except NotStored as why:
            with self._guard:
                self._counts["refused"] += 1
            self._record_failure(f"a data set of {caller!r} was refused: {why}")
            status = Dataset()
            status.Status, status.ErrorComment = OUT_OF_RESOURCES, str(why)[:64]
            return status
        with self._guard:
            self._counts["received"] += 1
            self._last_received = _now()
        return SUCCESS

    def _record_failure(self, why: str) -> None:
        LOG.warning("%s", why)
        with self._guard:
            self._last_error = f"{_now()} {why}"

    # -- ingest ---------------------------------------------------------------------------------

    def hand_over(self, *, everything: bool = False) -> bool:
        """Ingest what was received since the last call; return whether that succeeded.

        Parameters
        ----------
        everything
            Ingest the whole spool: an earlier listener may have left files.
        """
        with self._handing_over:
            folders = self._spool.take()
            try:
                self._drop_deleted(folders)
                sources = [self._spool.files] if everything else sorted(folders)
                if not sources:
                    return True
                report = self._wh.ingest(
                    *sources, mode=self.settings.mode, workers=self.settings.workers
                )
            except WarehouseError as error:
                self._spool.put_back(folders.items())
                self._record_failure(f"received files could not be ingested: {error}")
                return False
            except BaseException:
                self._spool.put_back(folders.items())
                raise
            with self._guard:
                self._counts["created"] += report.created
            return True

    def _drop_deleted(self, folders: dict[Path, int]) -> None:
        """Drop folders that somebody has deleted: no ingest of the others would succeed."""
        if self._spool.files.is_dir():
            for folder in [folder for folder in folders if not folder.is_dir()]:
                count = counted(folders.pop(folder), "received file")
                self._record_failure(f"{folder} was deleted with {count} that nothing had ingested")

    def _work(self) -> None:
        """Ingest by time and count, until the listener stops."""
        pause, not_before = TICK_SECONDS, 0.0
        everything, first_waiting = self.settings.ingest, None
        while not self._stopping.wait(TICK_SECONDS):
            now, waiting = time.monotonic(), self._spool.waiting
            first_waiting = (first_waiting or now) if waiting else None
            is_due = waiting >= self.settings.batch_files or (
                first_waiting is not None and now - first_waiting >= self.settings.batch_seconds
            )
            if self.settings.ingest and now >= not_before and (is_due or everything):
                if self._try_hand_over(everything=everything):
                    pause, everything, first_waiting = TICK_SECONDS, False, None
                else:
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                    not_before = time.monotonic() + pause

    def _report(self) -> None:
        """Update the state file until the listener stops; an ingest may take longer than that."""
        last_state, written = None, 0.0
        while not self._stopping.wait(TICK_SECONDS):
            now = time.monotonic()
            state = replace(self.state(), updated="")
            if state != last_state or now - written >= HEARTBEAT_SECONDS:
                last_state, written = state, now
                self._write_state()

    def _try_hand_over(self, *, everything: bool) -> bool:
        """Ingest; after any failure reception continues and the ingest is retried later."""
        try:
            return self.hand_over(everything=everything)
        except Exception as error:  # noqa: BLE001 - would end the thread
            self._record_failure(f"received files could not be ingested: {type(error).__name__}")
            return False

    def _write_state(self) -> None:
        try:
            write_state(self.spool, self.state())
        except OSError as error:
            LOG.warning("the state cannot be written: %s", cause_of(error)[0])


def opened_spool(wh: Warehouse, aet: str, spool: str | os.PathLike[str] | None) -> Spool:
    """Open the folder of received files of an AE title, by default beside the warehouse.

    Raises
    ------
    UsageError
        It cannot be created, or is in the warehouse, or the warehouse is in a bucket and no folder
        is given.
    SpoolInUse
    """
    if spool is None and str(wh.root) != wh.url:
        raise UsageError("a warehouse in a bucket needs a folder to receive into: give --spool")
    where = Path(spool) if spool else default_spool(wh.root, aet)
    root = Path(os.path.abspath(wh.root))
    if root in (absolute := Path(os.path.abspath(where))).parents or absolute == root:
        raise UsageError(f"{where} is in the warehouse, which never ingests its own folder")
    try:
        return Spool(absolute)
    except OSError as error:
        why, remedy = cause_of(error)
        raise UsageError(f"cannot receive into {where}: {why}; {remedy}") from error


@cache
def supported(sop_classes: tuple[str, ...], *, queries: bool) -> list[PresentationContext]:
    """Return the supported presentation contexts, shared read-only by all associations."""
    contexts = [build_context(VERIFICATION, SYNTAXES)]
    storage = [str(each.abstract_syntax) for each in AllStoragePresentationContexts]
    for uid in dict.fromkeys((*storage, *sop_classes)):
        if uid_to_service_class(uid) is ServiceClass:
            register_uid(uid, f"StorageOf_{uid.replace('.', '_')}", StorageServiceClass)
        context = build_context(uid, SYNTAXES)
        # In a C-GET this side sends, as SCU of storage.
        context.scu_role = context.scp_role = True
        contexts.append(context)
    roots = (PATIENT_ROOT, STUDY_ROOT) if queries else ()
    return contexts + [build_context(f"{root}{n}", SYNTAXES) for root in roots for n in (1, 2, 3)]


def _data_set(event: Event) -> Received:
    """Return the data set of a C-STORE, which ``Provider`` has received."""
    return cast("Received", cast("C_STORE", event.request).DataSet)


def _discard(event: Event) -> None:
    """Discard a partial data set of a closed connection."""
    cast("Provider", event.assoc.dimse).discard()


def _now() -> str:
    return dt.datetime.now().astimezone().isoformat(timespec="seconds")
