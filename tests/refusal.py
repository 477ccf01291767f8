"""Helpers for tests of rejected imports: an assertion, and a malicious pickle."""

from pathlib import Path

from diffusion_demo.cli import main


def refused(arguments, folder, capsys, *words):
    """Assert that `import` fails with one line on stderr, exit code 2 and no output folder; return the line."""
    before = sorted(folder.iterdir())
    assert main(["import", *map(str, arguments), "--out", str(folder / "refused")]) == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1 and sentence.endswith(".\n") and len(sentence) < 500, sentence
    assert all(word in sentence for word in words), sentence
    assert sorted(folder.iterdir()) == before
    return sentence


class Runs:
    """An object whose pickle runs code when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)
