"""What lies in a source, before any of it is read: pictures by name, files that are skipped, and the rest."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from diffusion_demo.data import names
from diffusion_demo.errors import BadInput

MAX_FILES = 250_000


@dataclass(frozen=True, slots=True)
class Member:
    """One file that is called a picture: its label, which no other member has, the folder it lies in, its own name, and its bytes.

    `read` raises Unreadable.
    """

    label: str
    folder: str
    base: str
    read: Callable[[], bytes]


class Listing:
    """members: what is called a picture; skipped: label -> reason; ignored: how many files are called something else."""

    def __init__(self, where: str):
        self.where = where
        self.members: list[Member] = []
        self.skipped: dict[str, str] = {}
        self.ignored = 0
        self._files = 0
        self._given: Counter[str] = Counter()

    def add(self, parts: Iterable[str], read: Callable[[], bytes], problem: str | None = None) -> None:
        """Take in one file by its folders and name; `problem` says why a picture here is not even opened. Raises BadInput for too many."""
        self._files += 1
        if self._files > MAX_FILES:
            raise too_many(self.where)
        parts = names.safe_parts(parts)
        if not parts or names.is_hidden(parts):
            return
        kind = names.suffix(parts[-1])
        if kind in names.OTHER_PICTURES:
            problem = f"{kind.upper()} pictures are not read here; save it as PNG or JPEG."
        elif kind in names.ARCHIVES:
            problem = "It is an archive inside; unpack it first."
        elif kind not in names.PICTURES:
            self.ignored += 1
            return
        if problem:
            self.skip(parts, problem)
        else:
            folder = names.shortened(parts[-2], names.MAX_FOLDER) if len(parts) > 1 else ""
            self.members.append(Member(self._label(parts), folder, parts[-1], read))

    def skip(self, parts: Iterable[str], reason: str) -> None:
        self.skipped[self._label(names.safe_parts(parts))] = reason

    def _label(self, parts: tuple[str, ...]) -> str:
        """The parts with slashes between; numbered where that was given out before."""
        label = wanted = names.shortened("/".join(parts), names.MAX_LABEL) or "no name"
        while self._given[label]:
            self._given[wanted] += 1
            label = f"{wanted} ({self._given[wanted]})"
        self._given[label] += 1
        return label


def too_many(where: str) -> BadInput:
    return BadInput(f"{where} holds more than {MAX_FILES:,} files; give it in parts.")
