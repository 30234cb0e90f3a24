"""DICOM server for untrusted peers: limits memory and time of a connection.

pynetdicom reads a PDU of any stated length, and waits for it without limit. Here the length of a
PDU is limited, it must arrive within the network timeout, and a TLS handshake runs in the thread of
its connection, so that a silent peer does not block others.
"""

from __future__ import annotations

import socket
import threading
import time
from socketserver import BaseServer
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from warehouse.listener.received import Provider
from warehouse.listener.sending import send_stored

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from pydicom.dataset import Dataset
    from pynetdicom.ae import ApplicationEntity

    from warehouse.listener.settings import ListenerSettings
    from warehouse.listener.spool import Spool

# pynetdicom's logs name patients: identifiers of queries, and at debug level whole data sets.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False

NEGOTIATION_BYTES = 1 << 20
"""Limit of an A-ASSOCIATE-RQ; 128 contexts with all transfer syntaxes are shorter."""

SPARE_CONNECTIONS = 16
"""Connections beyond the limit of associations, which are rejected with that reason."""

_HEAD_BYTES = 6


class _Socket(AssociationSocket):
    """Socket with limits on PDU size and waiting time."""

    longest = NEGOTIATION_BYTES
    seconds = 60.0

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes`` bytes, or fewer if the peer closes the connection.

        Raises
        ------
        OSError
            The PDU is too long or does not arrive in time; the association ends.
        """
        if nr_bytes > self.longest:
            raise OSError("the PDU is too long")
        deadline = time.monotonic() + self.seconds
        data = bytearray(nr_bytes)
        view, count = memoryview(data), 0
        peer = cast("socket.socket", self.socket)
        while count < nr_bytes:
            received = self._read(peer, view[count:])
            if not received:
                break
            count += received
            if time.monotonic() > deadline:
                raise TimeoutError("the PDU did not arrive in time")
        view.release()
        del data[count:]
        return data

    def _read(self, peer: socket.socket, view: memoryview) -> int:
        try:
            received = peer.recv_into(view)
        except OSError:
            self._wake_association()
            raise
        if not received:
            self._wake_association()
        return received

    def close(self) -> None:
        """Close the connection."""
        peer = self.socket
        super().close()
        if peer is not None:
            # pynetdicom leaves a socket open that its peer has closed first.
            peer.close()
        self._wake_association()

    def _wake_association(self) -> None:
        """Wake the association that waits for a request on the closed connection.

        Otherwise it would count until the network timeout: a monitor that only connects would soon
        use up the limit of associations.
        """
        if self.assoc.requestor.primitive is None:
            self.assoc.dul.to_user_queue.put(cast("Any", None))


class _Association(Association):
    """An association opened by a peer; C-GET sends files over it byte for byte."""

    def send_c_store(self, dataset: Any, *rest: Any, **options: Any) -> Dataset:
        """Send a data set, or the bytes of the file of a stored instance."""
        return send_stored(self, super().send_c_store, dataset, *rest, **options)


class _Handler(RequestHandler):
    """Creates the association of a connection."""

    server: Server

    def _create_association(self) -> Association:
        """Create an association as pynetdicom does, from parts with limits."""
        server, entity = self.server, self.server.ae
        assoc = _Association(entity, "acceptor")
        assoc._server = server  # noqa: SLF001
        # pynetdicom counts associations by this prefix.
        assoc.name = f"AcceptorThread@{server.server_address[1]}"
        assoc.dimse = Provider(assoc, server.spool, server.settings.object_bytes)
        # The constructor has already passed the connection to the state machine.
        connection = _Socket(assoc, client_socket=cast("socket.socket", self.request))
        connection.longest = max(NEGOTIATION_BYTES, server.settings.pdu_bytes + _HEAD_BYTES)
        connection.seconds = server.settings.network_seconds
        assoc.set_socket(connection)
        acceptor = assoc.acceptor
        acceptor.maximum_length = entity.maximum_pdu_size
        acceptor.ae_title = server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = entity.implementation_class_uid
        acceptor.implementation_version_name = entity.implementation_version_name
        acceptor.supported_contexts = server.contexts
        assoc.requestor.address_info = self.remote
        for event, bound in server._handlers.items():  # noqa: SLF001
            if isinstance(event, evt.NotificationEvent):
                for handler, arguments in cast("list[tuple[Callable[..., Any], Any]]", bound):
                    assoc.bind(event, handler, arguments)
            elif bound:
                assoc.bind(event, *cast("tuple[Callable[..., Any], Any]", bound))
        return assoc


class Server(ThreadedAssociationServer):
    """Accepts connections on one port."""

    daemon_threads = True
    # Connections beyond the backlog are retried by the peer only after a second.
    request_queue_size = 128

    def __init__(self, ae: ApplicationEntity, **options: Any) -> None:
        self.spool: Spool = options.pop("spool")
        self.settings: ListenerSettings = options.pop("settings")
        self.failed: Callable[[str], None] = options.pop("failed")
        self._guard = threading.Lock()
        self._handshakes = 0
        super().__init__(ae, request_handler=_Handler, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its TLS handshake runs in its own thread."""
        connection, address = cast("socket.socket", self.socket).accept()
        # Without a timeout a peer that stops reading or writing would block its thread forever.
        connection.settimeout(self.settings.network_seconds)
        # Responses are short: Nagle's algorithm would delay each by 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Refuse connections beyond the limit."""
        return self.connections < self.settings.associations + SPARE_CONNECTIONS

    def shutdown(self) -> None:
        """Stop accepting connections."""
        # pynetdicom's method expects a server made by its own `start_server`.
        BaseServer.shutdown(self)
        self.server_close()

    @property
    def connections(self) -> int:
        """Number of open connections."""
        with self._guard:
            return self._handshakes + len(self.active_associations)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Do the TLS handshake, if TLS is configured, and start the association."""
        try:
            if self.ssl_context:
                request = self._tls_handshake(self.ssl_context, request)
            self.finish_request(request, client_address)
        except OSError as error:
            self.failed(f"a connection failed: {type(error).__name__}")
            self.shutdown_request(request)

    def _tls_handshake(self, context: ssl.SSLContext, request: socket.socket) -> socket.socket:
        with self._guard:
            self._handshakes += 1
        try:
            return context.wrap_socket(request, server_side=True)
        finally:
            with self._guard:
                self._handshakes -= 1
