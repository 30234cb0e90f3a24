"""Serve a viewer at the root: OHIF if it is installed, else the built-in page.

In: a folder. Out: its files and no others, with a content security policy that lets a browser load
from this server only. The files contain no patient data, so they need no token.
"""

from __future__ import annotations

import json
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import FileResponse, Response

from warehouse.server.errors import problem
from warehouse.settings import user_cache

if TYPE_CHECKING:
    from fastapi import FastAPI

PAGE = Path(__file__).with_name("page")
_PLAIN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# OHIF overlays segmentations with a library (ndarray) that compiles code from text, which needs
# 'unsafe-eval'.
_OHIF = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'"
)
_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
_CONFIG: dict[str, Any] = {
    "name": "dicom-warehouse", "routerBasename": None, "extensions": [], "modes": [],
    # Otherwise an introductory tour covers the first image.
    "customizationService": [{"ohif.tours": {"$set": []}}],
    "showStudyList": True, "maxNumberOfWebWorkers": 2, "showWarningMessageForCrossOrigin": False,
    "strictZSpacingForVolumeViewport": True, "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "warehouse",
    "dataSources": [{
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "warehouse",
        "configuration": {
            "friendlyName": "dicom-warehouse", "name": "warehouse", "qidoRoot": "/dicomweb",
            "wadoRoot": "/dicomweb", "wadoUriRoot": "/dicomweb", "qidoSupportsIncludeField": True,
            "supportsFuzzyMatching": True, "supportsWildcard": True, "imageRendering": "wadors",
            "thumbnailRendering": "thumbnail", "thumbnailRequestStrategy": "fetch",
            "enableStudyLazyLoad": True, "omitQuotationForMultipartRequest": True,
            "bulkDataURI": {"enabled": True},
        },
    }],
}  # fmt: skip

# OHIF reads a token from the URL of a study only, not of the list of studies, and loses it when the
# page is reloaded. The key in the session storage is that of the built-in page.
_SCRIPT = """window.config = ({ servicesManager }) => {
  const address = new URL(location.href);
  if (address.searchParams.has("token")) {
    sessionStorage.setItem("token", address.searchParams.get("token"));
    address.searchParams.delete("token");
    history.replaceState(null, "", address);
  }
  const token = sessionStorage.getItem("token");
  if (token) {
    // This function runs before services exist.
    const register = servicesManager.registerServices.bind(servicesManager);
    servicesManager.registerServices = (...given) => {
      register(...given);
      servicesManager.services.userAuthenticationService?.setServiceImplementation({
        getAuthorizationHeader: () => ({ Authorization: `Bearer ${token}` }),
      });
    };
  }
  return %s;
};
"""


def installed() -> Path | None:
    """Return the folder in which ``viewer install`` has put OHIF, if it exists."""
    folder = user_cache()
    ohif = folder / "viewer" if folder else None
    return ohif if ohif is not None and (ohif / "index.html").is_file() else None


def add(app: FastAPI, folder: Path | None) -> None:
    """Serve a viewer at the root of an application, after all its other routes."""
    ohif = folder or installed()

    @app.get("/app-config.js", include_in_schema=False)
    def config() -> Response:
        text = _SCRIPT % json.dumps(_CONFIG)
        return Response(text, media_type="text/javascript", headers=_ISOLATED)

    @app.get("/plain/{path:path}", include_in_schema=False)
    def plain(path: str) -> Response:
        return _file_response(PAGE, path, _PLAIN)

    @app.get("/{path:path}", include_in_schema=False)
    def root(path: str) -> Response:
        if ohif is not None:
            return _file_response(ohif, path, _OHIF)
        return _file_response(PAGE, path, _PLAIN)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _file_response(folder: Path, path: str, policy: str) -> Response:
    """Return a file of a folder, or the page itself for a path that its script interprets."""
    headers = {"Content-Security-Policy": policy, **_ISOLATED}
    target = (folder / path).resolve()
    if _is_file(target) and target.is_relative_to(folder.resolve()):
        kind = mimetypes.guess_type(target.name)[0] or "application/octet-stream"
        return FileResponse(target, media_type=kind, headers=headers)
    if (
        "." in path.rpartition("/")[2]
        or path.startswith(("api", "dicomweb"))
        or (folder == PAGE and path)
    ):
        # A missing script must not be answered with the page.
        return problem(404, "NotFound", "there is no such address")
    return FileResponse(folder / "index.html", media_type="text/html", headers=headers)
