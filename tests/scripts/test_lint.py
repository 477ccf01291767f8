"""The lint script reports long functions and path checks that may raise, and finds none in this project."""

from scripts.lint import FOLDERS, findings


def test_long_functions_and_mathematics_are_found(tmp_path):
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    (tmp_path / "scripts" / "long.py").write_text(
        "def fine():\n" + "    x = 1\n" * 39 + "\n\nasync def long():\n" + "    x = 1\n" * 40
    )
    (tmp_path / "diffusion_demo" / "diffusion").mkdir()
    (tmp_path / "diffusion_demo" / "diffusion" / "process.py").write_text("x = 1\n" * 1501)
    long, mathematics = findings(tmp_path)
    assert "long.py:43: long has 41 lines" in long and "has 1501 lines" in mathematics


def test_path_checks_that_may_raise_are_found(tmp_path):
    (tmp_path / "diffusion_demo").mkdir()
    (tmp_path / "diffusion_demo" / "files.py").write_text(
        "def look(path, entry):\n    entry.is_dir(follow_symlinks=False)\n    return path.is_file() or path.exists()\n"
    )
    is_file, exists = findings(tmp_path)
    assert "files.py:3: is_file() may raise" in is_file and "use os.path.exists" in exists


def test_this_project_has_no_findings():
    assert not findings()
