"""Receipt of uploads: each request gets a folder of its own inside the folder of its visitor."""

import asyncio
import re
import secrets
import shutil
from pathlib import Path

from gradio.route_utils import MultiPartException, upload_fn
from gradio.routes import file_upload_statuses
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from diffusion_demo.ui.server import temp_files
from diffusion_demo.ui.server.upload_quota import UploadQuota
from diffusion_demo.ui.server.visitor_files import upload_folder
from diffusion_demo.ui.server.visitors import address_of

UPLOAD_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
PROGRESS_SECONDS = 30.0  # for which the progress of a finished upload can be read


class UploadRoute:
    """ASGI application that takes the place of Gradio's upload route, whose files all lie in one folder.

    Args:
        max_bytes: Maximum size of a request.
        quota: Bytes and files are reserved here before the upload is received, and given back if it fails.
    """

    def __init__(self, max_bytes: int, quota: UploadQuota):
        self.max_bytes, self.quota = max_bytes, quota

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive the files of one request and answer with their paths. Raises HTTPException."""
        request, visitor = Request(scope, receive), scope["visitor"]
        upload_id = request.query_params.get("upload_id")
        if upload_id is not None and not UPLOAD_ID.fullmatch(upload_id):
            raise HTTPException(400, "The upload cannot be read. Reload the page.")
        announced = int(request.headers.get("content-length", self.max_bytes))
        folder = upload_folder(visitor) / secrets.token_hex(8)
        temp_files.restore()
        with self.quota.reserve(visitor, min(announced, self.max_bytes), address_of(request)) as reservation:
            try:
                paths = await self._receive(request, folder, upload_id)
            except BaseException:  # also when the visitor breaks it off
                shutil.rmtree(folder, ignore_errors=True)
                raise
            reservation.keep(folder, sum(Path(path).stat().st_size for path in paths), len(paths))
        response: Response = JSONResponse(paths)
        await response(scope, receive, send)

    async def _receive(self, request: Request, folder: Path, upload_id: str | None) -> list[str]:
        progress = file_upload_statuses if upload_id else None
        folder.mkdir(parents=True)
        try:
            paths, _, _ = await upload_fn(request, str(folder), self.max_bytes, upload_id, upload_progress=progress)
        except MultiPartException as error:
            too_large = "maximum allowed size" in error.message
            raise HTTPException(413 if too_large else 400, _TOO_LARGE if too_large else _UNREADABLE) from error
        finally:
            if upload_id:
                asyncio.get_running_loop().call_later(PROGRESS_SECONDS, _forget_progress, upload_id)
        return [str(path) for path in paths]


_TOO_LARGE, _UNREADABLE = "A file is too large for this page.", "The upload cannot be read. Reload the page."


def _forget_progress(upload_id: str) -> None:
    file_upload_statuses.stop_tracking(upload_id)
    file_upload_statuses._signals.pop(upload_id, None)
