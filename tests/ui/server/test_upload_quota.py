"""The quota of temporary files: per visitor, per address and in all; written files count and are given back."""

import pytest
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import upload_quota
from diffusion_demo.ui.server.upload_quota import FILES_PER_UPLOAD, UploadQuota
from diffusion_demo.ui.server.upload_route import UploadRoute

MB = 1_000_000


@pytest.fixture
def quota(tmp_path, monkeypatch):
    """100 MB in all, 25 for a visitor, 50 for an address."""
    monkeypatch.setattr(upload_quota, "_quotas", [])
    monkeypatch.setattr(upload_quota, "MIN_FREE_DISK_BYTES", 0)
    return UploadQuota(tmp_path, 100 * MB, 100 * FILES_PER_UPLOAD, 0.25, 0.5)


def upload(quota, visitor, address, size=20 * MB):
    folder = quota.folder / f"{visitor}-{len(quota._finished)}"
    with quota.reserve(visitor, size, address) as reservation:
        folder.mkdir()
        reservation.keep(folder, size, 1)
    return folder


def test_new_cookies_buy_no_space_and_other_addresses_have_their_own(quota):
    upload(quota, "a", "1")
    with pytest.raises(HTTPException) as refused:
        upload(quota, "a", "1", 10 * MB)
    assert refused.value.status_code == 429
    upload(quota, "b", "1")
    with pytest.raises(HTTPException) as refused:
        upload(quota, "c", "1")
    assert refused.value.status_code == 429
    upload(quota, "d", "2")
    upload(quota, "e", "3")
    with pytest.raises(HTTPException) as refused:
        upload(quota, "f", "4", 25 * MB)
    assert refused.value.status_code == 507


def test_the_number_of_files_is_limited_however_small_they_are(tmp_path, monkeypatch):
    """A visitor has room for 1,002 files: an upload may have 1,000, so the one after three files is refused."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(upload_quota, "_quotas", [])
    monkeypatch.setattr(upload_quota, "MIN_FREE_DISK_BYTES", 0)
    route = UploadRoute(MB, UploadQuota(tmp_path, 100 * MB, 2 * (FILES_PER_UPLOAD + 2), 0.5))

    def post(visitor, count):
        async def app(scope, receive, send):
            await route(scope | {"visitor": visitor}, receive, send)

        files = [("files", (f"{i}.txt", b"x")) for i in range(count)]
        return TestClient(app).post("/upload", files=files).status_code

    assert post("a", 2) == 200 and post("a", 1) == 200
    with pytest.raises(HTTPException) as refused:
        post("a", 1)
    assert refused.value.status_code == 429
    assert post("b", 3) == 200
    with pytest.raises(HTTPException) as refused:  # the limit of all visitors together
        route.quota.maximum.files = FILES_PER_UPLOAD + 5
        post("c", 1)
    assert refused.value.status_code == 507


def test_an_upload_that_fails_is_given_back(quota):
    for _ in range(10):
        with pytest.raises(ZeroDivisionError), quota.reserve("a", 20 * MB, "1"):
            raise ZeroDivisionError
    assert upload(quota, "a", "1").is_dir()


def test_written_files_count_once_and_are_given_back_when_they_are_deleted(quota):
    file = quota.folder / "made" / "zip.zip"
    file.parent.mkdir()
    with file.open("wb") as sparse:
        sparse.truncate(26 * MB)
    upload_quota.check_room("a")
    for _ in range(9):
        upload_quota.count_written("a", [str(file), "/etc/passwd", str(quota.folder / "missing.png")])
    with pytest.raises(BadInput, match="too much space"):
        upload_quota.check_room("a")
    upload_quota.check_room("b")
    with pytest.raises(HTTPException):
        upload(quota, "a", "1", MB)
    file.unlink()
    upload_quota.release_deleted()
    upload_quota.check_room("a")
    assert upload(quota, "a", "1").is_dir()


def test_an_uploaded_file_that_is_sent_back_counts_once(quota):
    folder = upload(quota, "a", "1")
    (folder / "own.png").write_bytes(b"x" * 100)
    before = quota._total.bytes
    upload_quota.count_written("a", [str(folder / "own.png")])
    assert quota._total.bytes == before
