"""The lint script finds what is too long, and nothing here is."""

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


def test_nothing_here_is_too_long():
    assert not findings()
