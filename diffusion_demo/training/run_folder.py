"""The run folder: config.json, events.jsonl, control.jsonl, samples/ and checkpoints/, with one lock."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.events import Event

KEPT_CHECKPOINTS = 3


class RunFolder:
    """One training run on disk. Whoever reads it sees whole files only."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.events_file = self.path / "events.jsonl"
        self.control_file = self.path / "control.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self._control_start = 0

    @property
    def exists(self) -> bool:
        return self.config_file.is_file()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one trainer of this run. Raises BadInput while another is; a killed trainer's lock is free.

        A folder in which no run began is taken away again.
        """
        lock = FileLock(self.path / ".lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BadInput(
                f"Another trainer is at work on {self.path}; stop it first, or choose another run folder."
            ) from error
        except OSError as error:
            raise BadInput(
                f"Cannot write to {self.path} ({error.strerror or error}); choose another run folder."
            ) from error
        try:
            yield
        finally:
            lock.release()
            if not self.exists:
                (self.path / ".lock").unlink(missing_ok=True)
                with suppress(OSError):
                    self.path.rmdir()

    def write_config(self, config: TrainConfig, data: dict, command: str) -> None:
        """Write config.json: what to do, on what data (with the digests of the images that are held out), and the command that said so."""
        atomic_write(
            self.config_file,
            json.dumps({"config": asdict(config), "data": data, "command": command}, indent=2, ensure_ascii=False)
            + "\n",
        )

    def read_config(self) -> tuple[TrainConfig, dict, str]:
        """The config, data and command that it was begun with. Raises BadInput when config.json cannot be read."""
        try:
            written = json.loads(self.config_file.read_text(encoding="utf-8"))
            return TrainConfig(**written["config"]), written["data"], written["command"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{self.config_file} cannot be read ({error}); start a new run.") from error

    def begin_call(self) -> None:
        """Mend what a killed trainer left half-written, and forget the control lines of earlier calls."""
        for partial in self.checkpoints.glob(".step_*.partial"):
            shutil.rmtree(partial)
        self._control_start = self.control_file.stat().st_size if self.control_file.exists() else 0
        if self.events_file.exists():
            events = self.events_file.read_bytes()
            if events and not events.endswith(b"\n"):
                atomic_write(self.events_file, events[: events.rfind(b"\n") + 1].decode())

    def append(self, event: Event) -> None:
        """Add a line to events.jsonl, or nothing at all: on a full disk no half a line stays."""
        before = self.events_file.stat().st_size if self.events_file.exists() else 0
        try:
            with self.events_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event.to_json()) + "\n")
        except OSError:
            os.truncate(self.events_file, before)
            raise

    def events(self) -> list[dict]:
        """Every whole line of events.jsonl."""
        if not self.events_file.exists():
            return []
        lines = self.events_file.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def control(self) -> list[str]:
        """The commands (stop, sample_now, save_now) appended since this was last called."""
        if not self.control_file.exists() or self.control_file.stat().st_size <= self._control_start:
            return []
        with self.control_file.open("rb") as file:
            file.seek(self._control_start)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._control_start += len(whole)
        return [json.loads(line)["type"] for line in whole.splitlines()]

    def latest(self) -> Path | None:
        """The newest whole checkpoint: the one that `latest` names or, where that is gone, the one of the highest step."""
        with suppress(OSError, ValueError):  # a pointer that is gone or cannot be read points nowhere
            named = self.checkpoints / (self.checkpoints / "latest").read_text(encoding="utf-8").strip()
            if named.parent == self.checkpoints and named.is_dir():
                return named
        whole = (path for path in self.checkpoints.glob("step_*") if path.name[5:].isdecimal() and path.is_dir())
        return max(whole, key=lambda path: int(path.name[5:]), default=None)

    def best(self) -> Path | None:
        """The kept checkpoint of the lowest loss on the images that were held out, if that was measured."""
        losses = {}
        for path in self.checkpoints.glob("step_*"):
            with suppress(BadInput):  # a damaged one is not the best
                losses[path] = load_metadata(path).held_out_loss
        measured = {path: loss for path, loss in losses.items() if loss is not None}
        return min(measured, key=measured.get, default=None)

    def add_checkpoint(self, step: int, write: Callable[[Path], None]) -> Path:
        """Have `write` fill a folder, put it in place in one rename, point `latest` at it, and drop all but the newest few and the best.

        Where `write` fails, nothing of it stays.
        """
        self.checkpoints.mkdir(exist_ok=True)
        final = self.checkpoints / f"step_{step:06d}"
        partial = self.checkpoints / f".{final.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            write(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if final.exists():
            shutil.rmtree(final)
        os.replace(partial, final)
        atomic_write(self.checkpoints / "latest", final.name + "\n")
        best = self.best()
        for old in sorted(self.checkpoints.glob("step_*"), key=lambda path: path.stat().st_mtime_ns)[
            :-KEPT_CHECKPOINTS
        ]:
            if old != best:
                shutil.rmtree(old)
        return final


def resolve_checkpoint(path: str | Path) -> Path:
    """The newest checkpoint of a run folder; any other folder as it is."""
    return RunFolder(path).latest() or Path(path)


def resolve_init_from(text: str | Path) -> str:
    """What a person calls a model to go on from -> a setting that means the same from any folder: a path, or a model's name on the Hub as it is."""
    start = resolve_checkpoint(text)
    return str(start.resolve()) if start.is_dir() else start.as_posix()


def atomic_write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
