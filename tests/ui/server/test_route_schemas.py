"""Keys and bodies of Gradio's own routes: what its page sends passes, and nothing else."""

import json
from urllib.parse import urlencode

import pytest
from starlette.exceptions import HTTPException

from diffusion_demo.ui.server.route_schemas import MAX_KEY, check_body, check_keys

PARAMETERS = [("queue/data", "session_hash"), ("upload_progress", "upload_id"), ("queue/data", "event_id")]


def query(name: str, key: str) -> bytes:
    return urlencode({"x": "a b", name: key}).encode()


@pytest.mark.parametrize("key", ["x", "0f_-Z", "x" * MAX_KEY])
def test_a_plain_key_passes(key):
    check_keys(f"heartbeat/{key}", b"")
    for path, name in PARAMETERS:
        check_keys(path, query(name, key))


@pytest.mark.parametrize("key", ["x" * (MAX_KEY + 1), "a b", "a\nFORGED", "a\n", "../x", "a/b", "ä", "a\x00"])
def test_any_other_key_is_refused(key):
    with pytest.raises(HTTPException, match="cannot read"):
        check_keys(f"heartbeat/{key}", b"")
    for path, name in PARAMETERS:
        with pytest.raises(HTTPException, match="cannot read"):
            check_keys(path, query(name, key))
    with pytest.raises(HTTPException, match="cannot read"):
        check_body("queue/join", json.dumps({"session_hash": key}).encode())


def test_a_body_is_that_of_one_call():
    call = {"data": [1], "fn_index": 3, "session_hash": "abc", "event_data": None, "trigger_id": None, "extra": 5}
    check_body("queue/join", json.dumps(call).encode())
    wrong = [{"batched": True}, {"fn_index": -1}, {"fn_index": "3"}, {"data": {}}, {"data": [0] * 1001}]
    for change in [*wrong, {"oauth_token": "hf_x"}]:
        with pytest.raises(HTTPException, match="cannot read"):
            check_body("queue/join", json.dumps(call | change).encode())
    check_body("call/v2/sample", b'{"seed": 5}')
    for body in (b"", b"[]", b"{", json.dumps({str(i): i for i in range(101)}).encode()):
        with pytest.raises(HTTPException, match="cannot read"):
            check_body("call/v2/sample", body)
