"""``serve``, ``token`` and ``viewer``: access to the warehouse over HTTP."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from warehouse import errors
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Root, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import size_text
from warehouse.escape import escaped
from warehouse.settings import user_cache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.api import Warehouse
    from warehouse.listener.listener import Listener

token = App(
    name="token",
    help="Tokens of a server: names, roles, and secrets that are shown once.\n\n"
    "Example: `dicom-warehouse token add viewer`",
)

Tokens = Annotated[
    Path | None,
    Parameter(
        env_var="DICOM_WAREHOUSE_TOKENS",
        help="File of tokens; by default beside the folder of the warehouse.",
    ),
]
Many = Annotated[list[str] | None, Parameter(negative="")]


def _tokens_file(named: Path | None, warehouse: str) -> Path:
    """Return the file of tokens of a warehouse, by default beside its folder."""
    from warehouse.dicom.objects import is_object

    if named is not None:
        return named.absolute()
    if is_object(warehouse):
        raise errors.UsageError(
            "a warehouse in a bucket has no default file of tokens; name one with --tokens FILE"
        )
    folder = Path(os.path.abspath(warehouse))
    return folder.with_name(f"{folder.name}.tokens.json")


def serve(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    host: str = "127.0.0.1",
    port: int = 8042,
    tokens: Tokens = None,
    received: Path | None = None,
    viewer: Path | None = None,
    audit: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    public_url: str = "",
    timeout: float = 60.0,
    requests: int = 64,
    max_body: int = 16 << 30,
    without: Annotated[
        list[Literal["rest", "dicomweb", "viewer"]] | None, Parameter(negative="")
    ] = None,
    listen: int | None = None,
    aet: str = "WAREHOUSE",
    allow: Many = None,
    destination: Many = None,
    as_json: AsJson = False,
) -> int:
    """Serve DICOMweb, a REST interface and a viewer over HTTP, until stopped.

    Without tokens only this machine has access, and can only read. See docs/how-to/serve.md. With
    `--listen` it also receives DICOM.

    Example: `dicom-warehouse serve -w my-warehouse`

    Example: `dicom-warehouse serve -w my-warehouse --listen 11112 --aet ARCHIVE --allow CT1`

    Parameters
    ----------
    host
        Address to listen on; other machines need a token.
    port
        Port to listen on.
    received
        Folder for objects that clients store (STOW-RS); by default they are refused.
    viewer
        Folder of OHIF; by default that of `viewer install`, else the built-in viewer is used.
    audit
        File for the log of requests and users; standard error by default.
    certificate
        PEM file with the certificate, for TLS.
    key
        PEM file with the private key of the certificate.
    public_url
        URL of this server for clients, behind a proxy: https://archive.example.org
    timeout
        Seconds that the work of a request may take, and that a client may be idle.
    requests
        Maximum number of concurrent requests.
    max_body
        Maximum size of an upload, in bytes.
    without
        Disable rest, dicomweb or viewer; may be repeated.
    listen
        Port of a DICOM listener in the same process, at the same address, with the defaults of
        the command `listen`, which has more options; 0 selects a free one.
    aet
        Application entity title of the listener.
    allow
        AE title that may connect to it; may be repeated. By default any that reaches the port.
    destination
        Permitted destination of its C-MOVE, as AET=host:port; may be repeated.
    """
    if listen is None and (allow or destination or aet != "WAREHOUSE"):
        raise errors.UsageError("--aet, --allow and --destination require --listen PORT")
    try:
        from warehouse.server.serve import serve as run
        from warehouse.server.settings import ServerSettings
    except ImportError as error:
        raise errors.NotInstalled("a server", error.name or "fastapi", "server") from None
    if port == 0:
        raise errors.UsageError("clients need to know the port: --port is a number from 1 to 65535")
    if tokens is not None and not tokens.exists():
        raise errors.UsageError(
            f"{tokens} does not exist; create a token with: dicom-warehouse token add NAME "
            f"--tokens {tokens}; or leave out --tokens"
        )
    settings = ServerSettings(
        host=host, port=port, tokens=_tokens_file(tokens, warehouse),
        received=received and received.absolute(), viewer=viewer,
        audit=audit, certificate=certificate, key=key, public_url=public_url, seconds=timeout,
        requests=requests, body_bytes=max_body, without=frozenset(without or ()),
    )  # fmt: skip
    scheme = "https" if certificate else "http"
    shown = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{shown}:{port}/"
    if as_json:
        send_document({"url": url, "host": host, "port": port})
    else:
        print(escaped(url), file=sys.stderr)
    wh = opened(warehouse)
    with contextlib.ExitStack() as stack:
        listeners = []
        if listen is not None:
            started = _listening(wh, host, listen, aet, allow or [], destination or [])
            listeners.append(stack.enter_context(started))
        run(wh, settings, listeners)
    return 0


@contextlib.contextmanager
def _listening(
    wh: Warehouse, host: str, port: int, aet: str, allow: list[str], destination: list[str]
) -> Iterator[Listener]:
    """Receive DICOM in threads of this process until the end of the block."""
    # Slow to import, and needs an extra.
    from warehouse.cli.network import log_to_stderr, require_pynetdicom

    require_pynetdicom()
    from warehouse.listener.listener import Listener
    from warehouse.listener.settings import ListenerSettings, Peer

    peers = [Peer.parse(text, "=") for text in destination]
    settings = ListenerSettings(
        aet=aet, port=port, host=host, allow=tuple(allow),
        destinations={each.aet: each for each in peers},
    )  # fmt: skip
    log_to_stderr()
    listener = Listener(wh, settings)
    try:
        if not (wh.root / "warehouse.json").exists():
            # Create the warehouse: requests fail before the first ingest, even of an empty folder.
            listener.hand_over(everything=True)
        where = f"{settings.aet} listens on {host}:{listener.port}"
        print(escaped(f"{where}, receiving into {listener.spool}"), file=sys.stderr)
        yield listener
    finally:
        # The next listener ingests waiting files: there is little time after a signal.
        listener.stop(hand_over=False)


@token.command
def add(
    name: str,
    /,
    *,
    role: Literal["read", "write", "deidentified"] = "read",
    warehouse: Root = DEFAULT_WAREHOUSE,
    tokens: Tokens = None,
    as_json: AsJson = False,
) -> int:
    """Create a token and print its secret, which is not stored.

    Example: `dicom-warehouse token add scanner --role write`

    Parameters
    ----------
    name
        Name of its owner, for the audit log and as the user of HTTP Basic.
    role
        read: everything; write: also store; deidentified: only tables without identifiers.
    """
    from warehouse.server.access import add_token

    file = _tokens_file(tokens, warehouse)
    secret = add_token(file, name, role)
    if as_json:
        send_document({"name": name, "role": role, "secret": secret})
    else:
        print(secret)
    return 0


@token.command(name="list")
def list_tokens(
    *, warehouse: Root = DEFAULT_WAREHOUSE, tokens: Tokens = None, as_json: AsJson = False
) -> int:
    """List tokens with their names and roles.

    Example: `dicom-warehouse token list`
    """
    from warehouse.server.access import read_tokens

    listed = read_tokens(_tokens_file(tokens, warehouse))
    if as_json:
        rows = [{"name": t.name, "role": t.role, "created": t.created} for t in listed]
        send_document({"tokens": rows})
        return 0
    for each in listed:
        print(escaped(f"{each.name}  {each.role}  {each.created}"))
    return 0


@token.command
def revoke(
    name: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE, tokens: Tokens = None,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Revoke a token; a running server refuses it from the next request on.

    Example: `dicom-warehouse token revoke viewer`

    Parameters
    ----------
    name
        Name of the token, as in `token list`.
    """
    from warehouse.server.access import revoke_token

    revoke_token(_tokens_file(tokens, warehouse), name)
    if as_json:
        send_document({"name": name, "is_revoked": True})
    return 0


viewer = App(
    name="viewer",
    help="Install OHIF in place of the built-in viewer.\n\n"
    "Example: `dicom-warehouse viewer install --from ohif-app-3.13.2.tgz`",
)


@viewer.command
def install(
    *,
    from_: Annotated[Path, Parameter(name="--from")],
    to: Path | None = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Install OHIF from the tarball of `npm pack @ohif/app@3.13.2`; its digest is checked.

    Example: `dicom-warehouse viewer install --from ohif-app-3.13.2.tgz`

    Parameters
    ----------
    from_
        The tarball.
    to
        New folder, for `serve --viewer`; by default one in the user's cache, which `serve` finds.
    """
    from warehouse.server.ohif import install as unpack

    cache = user_cache()
    if to is None and cache is None:
        raise errors.UsageError("the user has no cache folder; name a folder with --to")
    target = to or cache / "viewer"  # type: ignore[operator]
    size = unpack(from_, target.absolute(), force=force)
    if as_json:
        send_document({"target": target, "size_bytes": size})
        return 0
    print(escaped(f"{target}: {size_text(size)}"))
    return 0
