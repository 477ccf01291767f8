"""Invalid sources, symbolic links, pipes, and errors of the operating system."""

import os
import shutil

import pytest

from diffusion_demo.data import UNREADABLE, listing, load, pasted_sources, scan
from diffusion_demo.errors import BadInput
from tests.data import odd
from tests.data.conftest import tree, write_colors, write_zip_of
from tests.data.odd import GOOD, good_members, half, member, photo, raw_zip, scanned

# Unusable sources: a function that creates the source, its name, and a pattern of the error message.
SOURCES = {
    "a zip cut off": (
        lambda p: p.write_bytes(half(raw_zip(*good_members()))),
        "in.zip",
        r"^in\.zip is damaged or not a ZIP file\. Create",
    ),
    "a zip cut off and called otherwise": (
        lambda p: p.write_bytes(half(raw_zip(*good_members()))),
        "in.bin",
        r"^in\.bin is damaged or not a ZIP file",
    ),
    "an empty file called zip": (
        lambda p: p.write_bytes(b""),
        "in.zip",
        r"^in\.zip is damaged or not a ZIP file",
    ),
    "words called zip": (lambda p: p.write_text("words"), "in.zip", r"^in\.zip is damaged or not a ZIP file"),
    "a zip whose contents are damaged": (
        lambda p: p.write_bytes(raw_zip(*good_members()).replace(b"PK\1\2", b"PK\1\0")),
        "in.zip",
        r"^in\.zip is damaged or not a ZIP file",
    ),
    "a zip with letters that are none": (
        lambda p: p.write_bytes(raw_zip(member(b"\xff\xfe.png", photo(), flags=0x800))),
        "in.zip",
        r"^in\.zip is damaged or not a ZIP file",
    ),
    "words": (
        lambda p: p.write_text("words"),
        "notes.txt",
        r"^notes\.txt is neither a folder nor a ZIP file of images\. Choose one of these\.$",
    ),
    "an image alone": (lambda p: p.write_bytes(photo()), "a.png", r"^a\.png is neither a folder nor a ZIP"),
    "nothing": (lambda p: None, "nowhere", r"^No file or folder at .*nowhere\. Check the path\.$"),
    "a name that cannot be": (lambda p: None, "a\0b", r"^No file or folder at "),
    "a link to nothing": (lambda p: p.symlink_to("nothing here"), "in.zip", r"^No file or folder at .*in\.zip"),
    "a pipe": (lambda p: os.mkfifo(p), "in.zip", r"in\.zip is neither a folder nor a ZIP file"),
    "an empty folder": (
        lambda p: p.mkdir(),
        "in",
        r"^No readable images in in\. Choose a source of PNG, JPEG, ",
    ),
    "an empty zip": (lambda p: p.write_bytes(raw_zip()), "in.zip", r"^No readable images in in\.zip\."),
    "a folder of words": (
        lambda p: (p.mkdir(), (p / "notes.txt").write_text("words")),
        "in",
        r"^No readable images in in\.",
    ),
    "a folder of one damaged image": (
        lambda p: (p.mkdir(), (p / "a.png").write_text("x")),
        "in",
        r"^No readable images in in\. For example, a\.png: The content is not a supported",
    ),
    "a zip with a password": (
        lambda p: p.write_bytes(raw_zip(member(b"a.png", photo(), flags=1))),
        "in.zip",
        r"^No readable images in in\.zip\. .*a\.png: The file is password-protected\. Pack it .*\.$",
    ),
    "a zip of a million names": (
        lambda p: p.write_bytes(raw_zip(member(b"a.png", photo()), copies=1_000_000)),
        "in.zip",
        r"^in\.zip contains more than 250,000 files\. Split it into parts\.$",
    ),
    "a zip of one very long list of contents": (
        lambda p: p.write_bytes(raw_zip(member(b"a" * 65_000, b""), copies=1_600)),
        "in.zip",
        r"^in\.zip contains more than 250,000 files",
    ),
    "a zip that states to unpack to 30 GB": (
        lambda p: p.write_bytes(raw_zip(member(b"a.png", odd.zeros(1000), method=8, size=99_000_000), copies=300)),
        "in.zip",
        r"^in\.zip unpacks to more than 20 GB\. Unpack it and choose the folder\.$",
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_cannot_be_used_is_refused_with_one_sentence_and_nothing_is_written(name, tmp_path, monkeypatch):
    monkeypatch.setattr(listing._Limit, "files", 250_000)
    make, file, sentence = SOURCES[name]
    make(tmp_path / file)
    before = tree(tmp_path)
    with pytest.raises(BadInput, match=sentence) as refused:
        scan(tmp_path / file)
    assert tree(tmp_path) == before and "\n" not in str(refused.value) and str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(text, "The path is empty. Name a folder or ZIP file.") for text in ("", " ", '""', "' '", "file:")]
    + [(text, "No file or folder at .*. Check the path.") for text in ("~nouser/x", "~\0", "a\0b")],
)
def test_a_text_that_is_no_path_is_refused_and_does_not_mean_the_current_folder(text, sentence, tmp_path, monkeypatch):
    write_colors(tmp_path, 2)
    monkeypatch.chdir(tmp_path)
    for read in (scan, lambda text: scan(pasted_sources([text])[0])):
        with pytest.raises(BadInput, match=f"^{sentence}$"):
            read(text)


def test_links_in_a_folder_count_only_where_they_lead_to_a_file_inside(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "outside"
    write_colors(inside, 2)
    write_colors(outside / "secret", 1, start=9)
    (inside / "also.png").symlink_to("000.png")
    (inside / "out.png").symlink_to(outside / "secret" / "009.png")
    (inside / "out too.png").symlink_to("../outside/secret/009.png")
    (inside / "words.txt").symlink_to(outside / "secret" / "009.png")
    (inside / "folder").symlink_to(outside)
    (inside / "round").symlink_to(inside)
    (inside / "broken.png").symlink_to("not there.png")
    (inside / "myself.png").symlink_to("myself.png")
    (inside / "device.png").symlink_to("/dev/zero")
    report = scanned(inside, tmp_path)
    assert {entry.name for entry in report.entries} == GOOD | {"also.png"} and report.ignored == 1
    assert {name: reason.split(".")[0] for name, reason in report.rejected.items()} == {
        "out.png": "The symbolic link points outside the folder",
        "out too.png": "The symbolic link points outside the folder",
        "device.png": "The symbolic link points outside the folder",
        "folder": "A symbolic link to a folder is not followed",
        "round": "A symbolic link to a folder is not followed",
        "broken.png": "The symbolic link is broken",
        "myself.png": "The symbolic link is broken",
    }


def test_a_folder_that_is_itself_a_link_is_scanned(digits, tmp_path):
    (tmp_path / "here").symlink_to(digits)
    report = scan(tmp_path / "here")
    assert len(report.entries) == 60 and report.summary()["source"] == "here" and len(load(report, 16, 1, True)) > 0


@pytest.mark.timeout(20)
def test_a_pipe_in_a_folder_or_a_list_is_named_and_nothing_waits_for_it(tmp_path):
    write_colors(tmp_path, 2)
    os.mkfifo(tmp_path / "pipe.png")
    for source in (tmp_path, sorted(tmp_path.iterdir())):
        report = scanned(source, tmp_path)
        assert {entry.name for entry in report.entries} == GOOD and "Not a regular file" in report.rejected["pipe.png"]


@pytest.mark.timeout(20)
def test_a_pipe_that_takes_the_place_of_a_image_does_not_hang_the_loading(tmp_path):
    write_colors(tmp_path, 2)
    (tmp_path / "000.png").unlink()
    os.mkfifo(tmp_path / "000.png")
    with pytest.raises(UNREADABLE, match="Not a regular file"):
        listing.read_file(str(tmp_path / "000.png"))


def test_odd_members_of_a_list_are_named_and_the_rest_goes_on(tmp_path):
    write_colors(tmp_path, 2)
    (tmp_path / "folder").mkdir()
    write_zip_of(tmp_path, tmp_path / "more.zip")
    (tmp_path / "linked.png").symlink_to(tmp_path / "000.png")
    paths = [tmp_path / name for name in ("000.png", "001.png", "folder", "more.zip", "gone.png", "linked.png")]
    report = scanned(paths, tmp_path)
    assert {entry.name for entry in report.entries} == GOOD | {"linked.png"}
    words = {"folder": "A folder in a list of files", "more.zip": "An archive inside", "gone.png": "no longer exists"}
    assert report.rejected.keys() == words.keys() and all(
        words[name] in reason for name, reason in report.rejected.items()
    )


def test_files_of_a_training_run_inside_the_folder_of_its_images_are_left_out(trained_run, tmp_path):
    write_colors(tmp_path, 2)
    for run in (tmp_path, tmp_path / "runs" / "mine"):
        shutil.copytree(trained_run, run, dirs_exist_ok=True)
        assert list((run / "samples").glob("*.png"))
    report = scan(tmp_path)
    assert {entry.name for entry in report.entries} == GOOD and not report.ignored
    assert [note for note in report.notes if "runs/mine holds a training run" in note]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "No permission to read it. Change its permissions."),
        (
            OSError(5, "Input/output error"),
            "It cannot be read from disk (Input/output error). Copy it to another place.",
        ),
        (FileNotFoundError(2, "No such file or directory"), "It no longer exists. Restore it."),
        (MemoryError(), "The image does not fit in memory. Make it smaller."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_file_that_the_system_does_not_give_is_named_with_its_reason(error, reason, tmp_path, monkeypatch):
    write_colors(tmp_path, 3)
    opened = listing.open_file

    def fails(path):
        if path.endswith("002.png"):
            raise error
        return opened(path)

    monkeypatch.setattr(listing, "open_file", fails)
    report = scan(tmp_path)
    assert {entry.name for entry in report.entries} == GOOD and report.rejected == {"002.png": reason}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can read every file")
def test_a_folder_and_a_file_without_permission_are_named(tmp_path):
    write_colors(tmp_path, 3)
    write_colors(tmp_path / "closed", 1, start=5)
    (tmp_path / "002.png").chmod(0)
    (tmp_path / "closed").chmod(0)
    try:
        report = scan(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert report.rejected == dict.fromkeys(["002.png", "closed"], "No permission to read it. Change its permissions.")


def test_a_name_in_latin_1_in_a_folder_is_read_as_such_and_two_of_them_stay_apart(tmp_path):
    folder = os.fsencode(tmp_path)
    for i, name in enumerate([b"caf\xe9", b"caf\xe8"]):
        os.mkdir(folder + b"/" + name)
        write_colors(tmp_path / os.fsdecode(name), 1, start=i)
    report = scanned(tmp_path, tmp_path)
    assert report.class_names == ("cafè", "café")
    str(report.summary()).encode()


def test_too_many_files_in_a_folder_or_a_list_are_refused_before_any_is_read(digits, monkeypatch):
    monkeypatch.setattr(listing, "max_files_in_memory", lambda: 59)
    monkeypatch.setattr(listing, "read_file", lambda path: pytest.fail("was read"))
    for source in (digits, sorted(digits.rglob("*.png"))):
        with pytest.raises(BadInput, match="contains more than 59 files"):
            scan(source)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"], ids=repr)
def test_a_label_file_may_end_its_lines_as_any_system_does(end, tmp_path):
    write_colors(tmp_path, 2)
    rows = ["file_name;label", *(f"{path.name};a, b, {i}" for i, path in enumerate(sorted(tmp_path.iterdir())))]
    (tmp_path / "labels.csv").write_bytes(end.join([*rows, ""]).encode())
    assert scan(tmp_path).classes == {"a, b, 0": 1, "a, b, 1": 1}
