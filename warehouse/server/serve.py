"""Run the server with uvicorn, httptools and uvloop.

In: a warehouse and settings. Out: nothing; it serves until it is stopped. Logs contain no URLs of
requests, as their parameters may name patients.
"""

from __future__ import annotations

import logging
import shutil
import ssl
import sys
from typing import TYPE_CHECKING

from warehouse.errors import CannotListen, NotInstalled, UsageError
from warehouse.server.access import read_tokens
from warehouse.server.settings import BEGUN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import uvicorn

    from warehouse.api import Warehouse
    from warehouse.listener.listener import Listener
    from warehouse.server.settings import ServerSettings

_STOP_SECONDS = 10
"""Time that running responses have to finish when the server is stopped."""


def check(settings: ServerSettings) -> None:
    """Refuse settings that would serve other machines without tokens.

    Raises
    ------
    UsageError
    """
    if (settings.certificate is None) != (settings.key is None):
        raise UsageError("TLS needs both --certificate and --key")
    if settings.certificate is not None:
        _require_certificate(settings)
    if settings.is_loopback and settings.is_called_here:
        return
    if settings.tokens is None or not read_tokens(settings.tokens):
        raise UsageError(
            f"{settings.public_url or settings.host} can be reached from other machines, but "
            "there is no token: create one with: dicom-warehouse token add NAME; or serve this "
            "machine only: --host 127.0.0.1, without --public-url"
        )


def _require_certificate(settings: ServerSettings) -> None:
    """Check that the certificate and its key can be loaded, which uvicorn does without a reason."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            str(settings.certificate), str(settings.key)
        )
    except OSError as error:
        why = error.strerror if error.errno in {2, 13, 21} else "not a PEM certificate and its key"
        raise UsageError(
            f"--certificate {settings.certificate} and --key {settings.key} cannot be used: {why}"
        ) from None


def make_server(
    warehouse: Warehouse, settings: ServerSettings, listeners: Sequence[Listener] = ()
) -> uvicorn.Server:
    """Return a configured uvicorn server that is not started.

    Parameters
    ----------
    warehouse, settings
        The warehouse to serve, and how.
    listeners
        DICOM listeners of this process, whose state ``/api/v1/listeners`` returns.

    Raises
    ------
    NotInstalled, UsageError, NotAWarehouse
    """
    try:
        import uvicorn  # noqa: PLC0415 - an extra

        from warehouse.server.app import create_app  # noqa: PLC0415 - needs the extra
        from warehouse.server.connections import bounded  # noqa: PLC0415
    except ImportError as error:
        raise NotInstalled("a server", error.name or "fastapi", "server") from None
    check(settings)
    # Trust forwarded headers of a proxy on this machine only.
    return uvicorn.Server(uvicorn.Config(
        create_app(warehouse, settings, listeners), host=settings.host, port=settings.port,
        log_level="warning", access_log=False, server_header=False, lifespan="off",
        proxy_headers=True, forwarded_allow_ips="127.0.0.1,::1", timeout_keep_alive=30,
        timeout_graceful_shutdown=_STOP_SECONDS, log_config=None,
        ssl_certfile=settings.certificate, ssl_keyfile=settings.key, ws="none",
        http=bounded(settings.seconds),
    ))  # fmt: skip


def serve(
    warehouse: Warehouse, settings: ServerSettings, listeners: Sequence[Listener] = ()
) -> None:
    """Serve until the process is stopped; see ``make_server``.

    Raises
    ------
    NotInstalled, UsageError, NotAWarehouse, CannotListen
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s"
    )
    # The traceback of an unexpected error would quote values.
    logging.getLogger("uvicorn.error").addFilter(_without_traceback)
    server = make_server(warehouse, settings, listeners)
    if settings.received is not None:
        # Delete incomplete uploads of a killed server, which it did not acknowledge.
        shutil.rmtree(settings.received / BEGUN, ignore_errors=True)
    try:
        server.run()
    except SystemExit:
        # uvicorn has logged the reason, and exits with a code of its own.
        raise CannotListen(settings.host, settings.port, "see the line before") from None


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info:
        kind = record.exc_info[0]
        record.msg, record.args = "a request failed: %s", (kind.__name__ if kind else "?",)
        record.exc_info = record.exc_text = None
    return True
