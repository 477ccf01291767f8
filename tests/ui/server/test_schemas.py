"""Every endpoint of the built page has a schema, which follows its component and names no value in its sentence."""

import os
from pathlib import Path

import gradio as gr
import pytest
from gradio.blocks import Block

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.page import build
from diffusion_demo.ui.server import schemas
from diffusion_demo.ui.server.input_guard import GuardedBlocks
from diffusion_demo.ui.server.visitor_files import FORBIDDEN, VisitorFiles, upload_folder
from diffusion_demo.ui.settings import Settings


@pytest.fixture(scope="module")
def page():
    return build()


def accepts(block: Block, value) -> bool:
    """Return whether the schema of a component accepts a value. Files are not looked up."""
    try:
        schemas.schema_of(block).validate(value, lambda path, url: path)
    except BadInput as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return False
    return True


def test_every_endpoint_of_the_page_has_a_schema_that_accepts_its_own_initial_values(page):
    found = schemas.endpoint_schemas(page)
    assert found.keys() == page.fns.keys() and len(found) > 60
    for number, function in page.fns.items():
        assert len(found[number]) == len(function.inputs)
        for schema, block in zip(found[number], function.inputs, strict=True):
            if not isinstance(block, gr.Dataset):  # whose value is an index, and None before a click
                schema.validate(block.value, lambda path, url: path)


def test_a_page_with_an_endpoint_that_has_no_schema_does_not_start():
    with GuardedBlocks(Settings()) as page:
        editor = gr.ImageEditor()
        gr.Button().click(lambda image: None, editor, None)
    with pytest.raises(TypeError, match="ImageEditor has no schema"):
        page.launch(prevent_thread_lock=True)


@pytest.mark.parametrize("wrong", [True, "5", [5], {"path": "/etc/passwd"}, 4, 11, 1e300, 10**400, float("nan")])
def test_a_number_is_a_number_of_its_range(wrong):
    with gr.Blocks():
        slider = gr.Slider(5, 10, label="Steps")
        assert accepts(slider, 5) and accepts(slider, 7.5) and accepts(slider, None)
        assert not accepts(slider, wrong)
        assert not accepts(gr.Number(minimum=5, maximum=10), wrong)


def test_a_number_without_decimals_is_whole():
    with gr.Blocks():
        for field in (gr.Number(precision=0), gr.Slider(1, 9, precision=0)):
            assert accepts(field, 2) and accepts(field, 2.0) and accepts(field, None) and not accepts(field, 1.5)


@pytest.mark.parametrize("wrong", [True, 1.0, "3", [1], {"path": "/etc/passwd"}, 2, "--data=/private"])
def test_a_choice_is_one_of_its_component_and_of_its_type(wrong):
    with gr.Blocks():
        dropdown = gr.Dropdown([("gray", 1), ("color", 3), "other"])
        assert accepts(dropdown, 1) and accepts(dropdown, "other") and not accepts(dropdown, wrong)
        several = gr.Dropdown(["a", "b", "c"], multiselect=True, max_choices=2)
        assert accepts(several, ["a", "b"]) and not accepts(several, ["a", "b", "c"]) and not accepts(several, "a")
        assert accepts(gr.Dropdown(["a"], allow_custom_value=True), "b") and not accepts(gr.Radio(["a"]), "b")


@pytest.mark.parametrize("wrong", ["--data=/private", 1, 0, "true", [True]])
def test_a_checkbox_is_true_or_false(wrong):
    with gr.Blocks():
        assert accepts(gr.Checkbox(), True) and not accepts(gr.Checkbox(), wrong)


@pytest.mark.parametrize("wrong", ["x" * 11, "a\x00b", "\ud800", 5, ["x"]])
def test_text_is_bounded(wrong):
    with gr.Blocks():
        assert accepts(gr.Textbox(max_length=10), "x" * 10) and not accepts(gr.Textbox(max_length=10), wrong)
        assert not accepts(gr.Textbox(), "x" * (schemas.MAX_TEXT + 1))


META = {"_type": "gradio.FileData"}


@pytest.mark.parametrize(
    "wrong",
    [
        "/etc/passwd",
        {"path": "/etc/passwd"},
        {"path": "/etc/passwd", "meta": None},
        {"path": "/etc/passwd", "meta": {}},
        {"path": "/etc/passwd", "meta": {"_type": "gradio.filedata"}},
        {"path": "/etc/passwd", "meta": META | {"more": 1}},
        {"path": "/etc/passwd", "meta": META, "is_stream": True},
        {"path": ["/etc/passwd"], "meta": META},
        {"path": "", "meta": META},
        {"url": "http://127.0.0.1:9/x.png", "meta": META},
        [{"path": "/etc/passwd", "meta": META}],
        7,
    ],
)
def test_a_file_is_a_file_of_gradio(wrong):
    with gr.Blocks():
        image, files = gr.Image(type="filepath"), gr.File(file_count="multiple")
        assert accepts(image, {"path": "/x", "meta": META}) and not accepts(image, wrong)
        assert accepts(files, [{"path": "/x", "meta": META}]) and not accepts(files, [wrong])


def test_a_file_that_is_named_many_times_counts_once():
    file = {"path": "/x", "meta": META, "size": 5, "unknown": "dropped"}
    with gr.Blocks():
        files = schemas.schema_of(gr.File(file_count="multiple")).validate([file] * 500, lambda path, url: path)
    assert [checked["path"] for checked in files] == ["/x"] and "unknown" not in files[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The temporary folder, with an upload of the visitor "me", one of "other", and a file beside them."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path.resolve()))
    for visitor in ("me", "other"):
        upload_folder(visitor).mkdir()
        (upload_folder(visitor) / "a.png").write_bytes(b"pixels")
    (tmp_path / "page.png").write_bytes(b"pixels")
    return tmp_path


def checked(files: VisitorFiles, path: Path | str, url: str | None = None) -> bool:
    try:
        return files.check("me", {"here:7860"}, str(path), url) == str(path)
    except BadInput as error:
        assert str(error) == FORBIDDEN
        return False


def test_only_own_uploads_and_files_of_the_page_may_be_named(folder):
    files, own, foreign = VisitorFiles([], 100), upload_folder("me") / "a.png", upload_folder("other") / "a.png"
    assert checked(files, own) and not checked(files, foreign) and not checked(files, folder / "page.png")
    assert checked(VisitorFiles([str(folder / "page.png")], 100), folder / "page.png")
    assert not checked(files, upload_folder("me") / ".." / upload_folder("other").name / "a.png")
    for path in ("/etc/passwd", "/dev/zero", "a.png", upload_folder("me"), f"{own}\x00", f"/{own}", f"{own}/"):
        assert not checked(files, path), path
    files.remember_sent("me", [{"image": {"path": str(folder / "page.png"), "meta": META}}])
    assert checked(files, folder / "page.png") and not checked(VisitorFiles([], 5), own)


def test_links_pipes_and_folders_are_no_files(folder):
    own = upload_folder("me")
    (own / "link.png").symlink_to("/etc/passwd")
    (own / "linked").symlink_to(upload_folder("other"))
    (own / "deep").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(own / "pipe.png")
    for name in ("link.png", "linked/a.png", "deep", "pipe.png", "missing.png"):
        assert not checked(VisitorFiles([], 100), own / name), name


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        (None, True),
        ("http://here:7860/gradio_api/file={path}", True),
        ("/gradio_api/file={path}", True),
        ("http://there/gradio_api/file={path}", False),
        ("http://here:7860/gradio_api/file=/etc/passwd", False),
        ("http://127.0.0.1:9/x.png", False),
        ("file:///etc/passwd", False),
        ("http://[", False),
    ],
)
def test_a_url_is_that_of_the_file_on_this_page(folder, url, allowed):
    own = upload_folder("me") / "a.png"
    assert checked(VisitorFiles([], 100), own, url and url.format(path=own)) is allowed
