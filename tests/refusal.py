"""How `import` refuses a file, and a file that would do harm if what it asks for were run: for tests alone."""

from pathlib import Path

from diffusion_demo.cli import main


def refused(arguments, folder, capsys, *words):
    """One sentence on stderr, exit code 2, and no folder left behind."""
    before = sorted(folder.iterdir())
    assert main(["import", *map(str, arguments), "--out", str(folder / "refused")]) == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1 and sentence.endswith(".\n") and len(sentence) < 500, sentence
    assert all(word in sentence for word in words), sentence
    assert sorted(folder.iterdir()) == before
    return sentence


class Runs:
    """What a pickle can do to whoever opens it."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)
