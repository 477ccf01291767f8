"""Schema of the JSON bodies and keys of Gradio's own routes: no key that a caller sends is unbounded."""

import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

MAX_KEY = 64  # characters; Gradio's own session hashes have 10, its events 32
_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_KEY}}}")
_KEY_ROUTES = ("heartbeat/",)  # followed by a session hash
_KEY_PARAMETERS = ("session_hash", "upload_id", "event_id")
JSON_ROUTES = ("queue/join", "call/", "run/", "api/", "cancel", "reset")
MALFORMED = HTTPException(400, "The server cannot read this request. Reload the page.")

Key = Annotated[str, Field(pattern=rf"^[A-Za-z0-9_-]{{1,{MAX_KEY}}}$")]
Index = Annotated[int, Field(strict=True, ge=0, le=100_000)]


class CallBody(BaseModel):
    """A call of an endpoint, or the cancellation of one. The inputs have a schema of their own."""

    model_config = ConfigDict(extra="ignore")
    session_hash: Key | None = None
    event_id: Key | None = None
    data: Annotated[list[Any], Field(max_length=1000)] | None = None
    event_data: Any = None
    fn_index: Index | None = None
    trigger_id: Index | None = None
    simple_format: bool = False
    batched: Literal[False] | None = None
    oauth_token: None = None


def check_keys(path: str, query: bytes) -> None:
    """Raise HTTPException if a key in the path or query of a request is too long or has odd characters."""
    keys = [value for name, value in parse_qsl(query.decode("latin-1")) if name in _KEY_PARAMETERS]
    keys += [path.removeprefix(route) for route in _KEY_ROUTES if path.startswith(route)]
    if not all(_KEY.fullmatch(key) for key in keys):
        raise MALFORMED


def check_body(path: str, body: bytes) -> None:
    """Raise HTTPException if the body of a call is not what Gradio's page sends."""
    try:
        content = json.loads(body)
        if not path.startswith("call/v2/"):  # whose body holds the inputs by name, which Gradio puts in order
            CallBody.model_validate(content)
        elif not isinstance(content, dict) or len(content) > 100:
            raise MALFORMED
    except (ValueError, RecursionError, ValidationError) as error:
        raise MALFORMED from error
