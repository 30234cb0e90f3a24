"""Retrieve studies from another archive, by C-MOVE into a local listener or by C-GET.

In: a peer and UIDs. Out: ``Fetched``. Retrieved instances pass through the same spool and ingest as
those that peers send unrequested.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import StoragePresentationContexts, build_context, build_role, evt

from warehouse.errors import PeerFailed, UsageError, cause_of
from warehouse.inputs import require_seconds
from warehouse.listener.find import CANCELLED, STUDY_ROOT
from warehouse.listener.listener import OUT_OF_RESOURCES, SUCCESS, Listener, opened_spool
from warehouse.listener.received import file_head
from warehouse.listener.retrieve import Entity
from warehouse.listener.sending import nodelay

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pynetdicom.association import Association
    from pynetdicom.events import Event
    from pynetdicom.presentation import PresentationContext

    from warehouse.api import Warehouse
    from warehouse.ingest_report import IngestReport
    from warehouse.listener.settings import ListenerSettings, Peer
    from warehouse.listener.spool import Spool

MOVE, GET = f"{STUDY_ROOT}2", f"{STUDY_ROOT}3"

_PENDING = {0xFF00, 0xFF01}
_COMPLETE = {SUCCESS, 0xB000}
"""Statuses of a retrieval in which every instance was tried (PS3.4 C.4.2.1.5, C.4.3.1.4)."""
_MEANINGS = {
    0xA701: "cannot count the matches", 0xA702: "could not send the instances",
    0xA801: "does not know our AE title {aet}: configure there that {aet} is {host}:{port}",
    0xA900: "refuses the identifier", 0xFE00: "canceled the retrieval",
    0x0124: "does not authorize it",
}  # fmt: skip
_MAX_SOP_CLASSES = 126


@dataclass(frozen=True, slots=True)
class Fetched:
    """Result of a retrieval."""

    completed: int
    """Instances sent, according to the peer."""
    failed: int
    """Instances that it could not send, or did not try to send."""
    warned: int
    received: int | None
    """Instances received by this call; None if another listener receives them."""
    report: IngestReport | None
    """Report of their ingest."""
    ended: str = ""
    """Why the peer ended the retrieval before every instance was tried; empty if it did not."""

    @property
    def is_whole(self) -> bool:
        """Whether all matching instances of the peer were received."""
        are_here = self.received in {None, self.completed + self.warned}
        return not self.ended and not self.failed and are_here


def fetch(
    wh: Warehouse, peer: Peer, studies: Sequence[str], series: Sequence[str] = (), *,
    settings: ListenerSettings, spool: str | os.PathLike[str] | None = None, to: str = "",
    by_get: bool = False, seconds: float = 300.0,
) -> Fetched:  # fmt: skip
    """Retrieve studies, or some of their series, from another archive and ingest them.

    Parameters
    ----------
    peer
        The archive, which has to know our AE title, and for C-MOVE also our address.
    studies, series
        StudyInstanceUIDs, and SeriesInstanceUIDs to retrieve only these series.
    settings
        Our AE title; for C-MOVE, also the address on which to listen meanwhile.
    spool
        Folder of received files, as of a listener.
    to
        AE title of a running listener that receives the instances; this call ingests nothing.
    by_get
        Retrieve with C-GET: on one connection, uncompressed.
    seconds
        Time limit between two responses of the peer.

    Raises
    ------
    UsageError, CannotListen, SpoolInUse, PeerFailed
    """
    require_seconds("seconds", seconds)
    identifier = _make_identifier(studies, series)
    # The whole study is ingested at the end, in one commit.
    quiet = replace(settings, ingest=False, network_seconds=max(seconds, settings.network_seconds))
    if to:
        counts = _request_move(peer, identifier, quiet, seconds, to)
        return Fetched(*counts.sent, received=None, report=None, ended=counts.ended)
    if by_get:
        return _request_get(wh, peer, identifier, quiet, seconds, spool)
    with Listener(wh, quiet, spool) as listener:
        own = replace(quiet, port=listener.port)
        counts = _request_move(peer, identifier, own, seconds, quiet.aet)
        received = listener.state().received
        report = wh.ingest(listener.spool / "files", mode=quiet.mode, workers=quiet.workers)
    return Fetched(*counts.sent, received=received, report=report, ended=counts.ended)


def _make_identifier(studies: Sequence[str], series: Sequence[str]) -> Dataset:
    for uid in (*studies, *series):
        if not (uid.isascii() and uid.replace(".", "").isdecimal() and len(uid) <= 64):
            raise UsageError(f"{uid!r} is not a UID: it has at most 64 digits and dots")
    if not studies:
        raise UsageError("no study is given: add --study UID")
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES" if series else "STUDY"
    identifier.StudyInstanceUID = list(studies)
    if series:
        identifier.SeriesInstanceUID = list(series)
    return identifier


@contextmanager
def _association(
    peer: Peer, settings: ListenerSettings, seconds: float, contexts: list[PresentationContext],
    store: Sequence[object] = (),
) -> Iterator[Association]:  # fmt: skip
    """Open an association to a peer.

    Raises
    ------
    PeerFailed
        The peer does not answer, or rejects the association.
    """
    entity = Entity(settings.aet)
    entity.connection_timeout = entity.acse_timeout = min(seconds, 30.0)
    entity.dimse_timeout = entity.network_timeout = seconds
    classes = [str(each.abstract_syntax) for each in contexts[1:]]
    tls = (settings.tls.context(server=False), peer.host) if settings.tls else None
    association = entity.associate(
        peer.host, peer.port, contexts, peer.aet, tls_args=tls,
        ext_neg=[build_role(each, scp_role=True) for each in classes],
        evt_handlers=[(evt.EVT_CONN_OPEN, nodelay), *store],
    )  # fmt: skip
    try:
        if association.is_rejected:
            raise PeerFailed(str(peer), f"refuses the association; does it know {settings.aet}?")
        if not association.is_established:
            raise PeerFailed(
                str(peer), "does not answer, or does not support retrieval; check address and TLS"
            )
        yield association
    finally:
        if association.is_established:
            association.release()


def _request_move(
    peer: Peer, identifier: Dataset, settings: ListenerSettings, seconds: float, to: str
) -> _Counts:
    """Request a C-MOVE to an AE title."""
    with _association(peer, settings, seconds, [build_context(MOVE)]) as association:
        responses = association.send_c_move(identifier, to, MOVE)
        return _suboperation_counts(peer, settings, (status for status, _ in responses))


def _request_get(
    wh: Warehouse, peer: Peer, identifier: Dataset, settings: ListenerSettings, seconds: float,
    folder: str | os.PathLike[str] | None,
) -> Fetched:  # fmt: skip
    spool = opened_spool(wh, settings.aet, folder)
    try:
        stored: list[Path] = []
        syntaxes: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        contexts = [build_context(GET)] + [
            build_context(str(each.abstract_syntax), syntaxes)
            for each in StoragePresentationContexts[:_MAX_SOP_CLASSES]
        ]
        store = [(evt.EVT_C_STORE, partial(_store, spool, peer.aet, stored))]
        with _association(peer, settings, seconds, contexts, store) as association:
            responses = association.send_c_get(identifier, GET)
            counts = _suboperation_counts(peer, settings, (status for status, _ in responses))
        report = wh.ingest(spool.files, mode=settings.mode, workers=settings.workers)
    finally:
        spool.close()
    return Fetched(*counts.sent, received=len(stored), report=report, ended=counts.ended)


def _store(spool: Spool, aet: str, stored: list[Path], event: Event) -> int | Dataset:
    """Handle a C-STORE on the association of our C-GET."""
    request, syntax = event.request, str(event.context.transfer_syntax)
    sop_class = str(getattr(request, "AffectedSOPClassUID", ""))
    uid = str(getattr(request, "AffectedSOPInstanceUID", ""))
    try:
        part = spool.begin(file_head(sop_class, uid, syntax, aet))
        try:
            part.write(event.encoded_dataset(include_meta=False))
        except OSError:
            part.discard()
            raise
        stored.append(spool.keep(part, aet))
    except OSError as error:
        failure = Dataset()
        failure.Status, failure.ErrorComment = OUT_OF_RESOURCES, cause_of(error)[0][:64]
        return failure
    return SUCCESS


@dataclass(frozen=True, slots=True)
class _Counts:
    """Result of a retrieval according to the peer."""

    sent: tuple[int, int, int]
    """Completed, failed, warned."""
    ended: str
    """See ``Fetched``."""


def _suboperation_counts(
    peer: Peer, settings: ListenerSettings, responses: Iterable[Dataset]
) -> _Counts:
    """Read all responses; return the counts of the last.

    Raises
    ------
    PeerFailed
    """
    last = Dataset()
    for status in responses:
        last = status
    code = last.get("Status")
    if code is None or code in _PENDING:
        raise PeerFailed(str(peer), "ended the association, or did not answer in time")
    completed, failed, warned, remaining = (
        int(last.get(f"NumberOf{kind}Suboperations") or 0)
        for kind in ("Completed", "Failed", "Warning", "Remaining")
    )
    ended = ""
    if code not in _COMPLETE:
        meaning = _MEANINGS.get(code, "failed to send").format(
            aet=settings.aet, host=settings.host, port=settings.port
        )
        ended = f"{meaning} (status 0x{code:04X})"
        # Other final responses have no number of remaining ones (PS3.4 C.4.2.1.6).
        failed += remaining if code == CANCELLED else 0
    if code != SUCCESS and not completed + failed + warned:
        raise PeerFailed(str(peer), ended or f"failed to send (status 0x{code:04X})")
    return _Counts((completed, failed, warned), ended)
