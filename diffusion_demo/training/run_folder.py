"""The run folder: config.json, events.jsonl, control.jsonl, samples/ and checkpoints/, with a lock."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from diffusion_demo.atomic import atomic_path, atomic_write, created_folder, remove_folder, sweep
from diffusion_demo.errors import BadInput
from diffusion_demo.models.hub import checkpoint_source
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import with_current_keys
from diffusion_demo.paths import bundled_checkpoint
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.events import Event, check_event
from diffusion_demo.untrusted_files import check_readable, parse_json, read_json, read_regular

COMMANDS = ("stop", "sample_now", "save_now")
MAX_CONTROL_BYTES = 1_000_000  # read at once
CACHE_FILES = ("training.npy", "training.json", "held_out.npy", "held_out.json")  # data.load_transformed
KEPT_CHECKPOINTS = 3  # the newest ones; the best one is kept in addition


class RunFolder:
    """One training run on disk.

    Files are replaced atomically and flushed to the disk, so that a reader never sees a partial one.
    """

    def __init__(self, path: str | Path):
        self.path: Path = Path(path)
        self.config_file: Path = self.path / "config.json"
        self.events_file: Path = self.path / "events.jsonl"
        self.control_file: Path = self.path / "control.jsonl"
        self.checkpoints: Path = self.path / "checkpoints"
        self.samples: Path = self.path / "samples"
        self.cache: Path = self.path / "cache"  # of decoded images
        self.scan_cache: Path = self.cache / "scan.jsonl"  # data.ScanCache
        self._control_start = 0

    @property
    def exists(self) -> bool:
        """Whether a run has started in this folder."""
        return os.path.isfile(self.config_file)

    def siblings(self) -> list["RunFolder"]:
        """Return the other runs in the folder of this one, the newest first."""
        changed: dict[Path, int] = {}
        for config in self.path.absolute().parent.glob("*/config.json"):
            with suppress(OSError):  # the run was deleted since the folder was listed
                changed[config.parent] = config.stat().st_mtime_ns
        newest_first = sorted(changed, key=lambda folder: changed[folder], reverse=True)
        return [RunFolder(folder) for folder in newest_first if folder.name != self.path.name]

    def scan_caches_of(self, sources: Sequence[str]) -> Iterator[Path]:
        """Yield the scans of those sibling runs that train on these sources."""
        for sibling in self.siblings():
            with suppress(BadInput):  # a damaged run
                if sibling.read_config()[0].data == sources:
                    yield sibling.scan_cache

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of this run; the lock of a killed process is released by the OS.

        Removes what killed processes left incomplete and, on exit, the folder if no run started in it. Raises BadInput
        if another process holds the lock, or if the folder is not writable.
        """
        lock = FileLock(self.path / ".lock")
        with ExitStack() as stack:
            try:
                stack.enter_context(created_folder(self.path))
                lock.acquire(timeout=0)
            except Timeout as error:
                raise BadInput(
                    f"Another process is training {self.path}. Stop it first, or choose another run folder."
                ) from error
            except OSError as error:
                raise BadInput(
                    f"Cannot write to {self.path} ({error.strerror or error}). Choose another run folder."
                ) from error
            try:
                self._sweep()
                yield
            finally:
                lock.release()
                if not self.exists:
                    self._remove_start()

    def _remove_start(self) -> None:
        """Remove what was written before the run started, and the folder unless it holds anything else."""
        if os.path.isfile(self.events_file) and not self.events_file.stat().st_size:
            self.events_file.unlink()
        for file in (self.path / ".lock", self.scan_cache, *(self.cache / name for name in CACHE_FILES)):
            file.unlink(missing_ok=True)
        for folder in (self.cache, self.path):
            with suppress(OSError):
                folder.rmdir()

    def _sweep(self) -> None:
        for folder in (self.path, self.cache, self.samples, self.checkpoints):
            sweep(folder)

    def write_config(self, config: TrainConfig, data: dict[str, Any], command: str) -> None:
        """Write config.json: the config, a summary of the data with the digests of held-out images, and the command."""
        content = {"config": config.model_dump(), "data": data, "command": command}
        atomic_write(self.config_file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def read_config(self) -> tuple[TrainConfig, dict[str, Any], str]:
        """Return the config, data summary and command of the run. Raises BadInput when config.json cannot be read."""
        try:
            content = read_json(self.config_file)
            data, command = content["data"], content["command"]
            if not isinstance(data, dict) or not isinstance(command, str):
                raise ValueError("data or command has another type")
            return TrainConfig.from_json(content["config"]), with_current_keys(data), command
        except BadInput as error:
            raise BadInput(f"A setting in {self.config_file} cannot be used. {error}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            check_readable(self.config_file)
            raise BadInput(f"Cannot read {self.config_file} ({error}). Start a new run.") from error

    def begin_call(self) -> None:
        """Remove the incomplete last line of a killed process, and skip the control lines of earlier calls.

        Raises BadInput if something other than a file, such as a pipe, is in the place of events.jsonl.
        """
        self._control_start = self.control_file.stat().st_size if os.path.isfile(self.control_file) else 0
        if os.path.exists(self.events_file):
            if not os.path.isfile(self.events_file):
                raise BadInput(f"{self.events_file} is not a file. Move it away, then try again.")
            events = self.events_file.read_bytes()
            if events and not events.endswith(b"\n"):
                with atomic_path(self.events_file) as temporary:
                    temporary.write_bytes(events[: events.rfind(b"\n") + 1])

    def append(self, event: Event) -> None:
        """Append a line to events.jsonl; a write that fails, as on a full disk, leaves the file unchanged.

        Raises OSError when the write fails.
        """
        size = self.events_file.stat().st_size if os.path.exists(self.events_file) else 0
        try:
            with self.events_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event.to_json()) + "\n")
        except OSError:
            with suppress(OSError):
                os.truncate(self.events_file, size)
            raise

    def events(self) -> list[dict[str, Any]]:
        """Return the events of all complete lines of events.jsonl. Raises OSError or ValueError if it is damaged."""
        if not os.path.exists(self.events_file):
            return []
        lines = read_regular(self.events_file).decode().splitlines(keepends=True)
        return [check_event(parse_json(line)) for line in lines if line.endswith("\n")]

    def control(self) -> tuple[set[str], list[str]]:
        """Return the commands appended since the last call, and the lines among them that are none of COMMANDS."""
        commands, ignored = set(), []
        for line in self._appended_control_lines():
            try:
                content = parse_json(line)
                command = content.get("type") if isinstance(content, dict) else None
            except ValueError:  # no JSON, or not even UTF-8
                command = None
            if isinstance(command, str) and command in COMMANDS:
                commands.add(command)
            else:
                ignored.append(line.decode(errors="replace"))
        return commands, ignored

    def _appended_control_lines(self) -> list[bytes]:
        """Return the complete lines of control.jsonl since the last call; none while the file cannot be read."""
        try:
            # A pipe or a folder in its place must not block or end the training.
            if not os.path.isfile(self.control_file) or self.control_file.stat().st_size <= self._control_start:
                return []
            with self.control_file.open("rb") as file:
                file.seek(self._control_start)
                appended = file.read(MAX_CONTROL_BYTES)
        except OSError:
            return []
        complete = appended[: appended.rfind(b"\n") + 1]
        if not complete and len(appended) == MAX_CONTROL_BYTES:
            complete = appended  # the end of an endless line is ignored with it
        self._control_start += len(complete)
        return [line for line in complete.splitlines() if line.strip()]

    def latest(self) -> Path | None:
        """Return the checkpoint that the file `latest` names, else the one of the highest step, else None."""
        with suppress(OSError, ValueError):  # the file is missing or damaged
            named = self.checkpoints / read_regular(self.checkpoints / "latest").decode().strip()
            if named.parent == self.checkpoints and os.path.isdir(named):
                return named
        folders = (
            path for path in self.checkpoints.glob("step_*") if path.name[5:].isdecimal() and os.path.isdir(path)
        )
        return max(folders, key=lambda path: int(path.name[5:]), default=None)

    def best(self) -> Path | None:
        """Return the kept checkpoint with the lowest held-out loss; None if no kept one has a held-out loss."""
        losses: dict[Path, float] = {}
        for path in self.checkpoints.glob("step_*"):
            with suppress(BadInput):  # skip a damaged checkpoint
                if (loss := load_metadata(path).held_out_loss) is not None:
                    losses[path] = loss
        return min(losses, key=lambda path: losses[path], default=None)

    def add_checkpoint(self, step: int, write: Callable[[Path], None]) -> Path:
        """Add a checkpoint atomically: call `write` with a temporary folder, rename that, and update the file `latest`.

        Removes all older checkpoints but the newest KEPT_CHECKPOINTS and the best. If `write` raises, the temporary
        folder is removed.
        """
        self.checkpoints.mkdir(exist_ok=True)
        final = self.checkpoints / f"step_{step:06d}"
        with atomic_path(final) as temporary:
            write(temporary)
        atomic_write(self.checkpoints / "latest", final.name + "\n")
        self._remove_old_checkpoints()
        return final

    def _remove_old_checkpoints(self) -> None:
        best = self.best()
        oldest_first = sorted(self.checkpoints.glob("step_*"), key=lambda path: path.stat().st_mtime_ns)
        for path in oldest_first[:-KEPT_CHECKPOINTS]:
            if path != best:
                remove_folder(path)


def resolve_checkpoint(path: str | Path) -> Path:
    """Return the latest checkpoint of a run folder, or the folder of a bundled checkpoint; leave other paths unchanged.

    A folder precedes the bundled checkpoint of the same name.
    """
    path = Path(checkpoint_source(path))
    if os.path.isdir(path):
        return RunFolder(path).latest() or path
    return bundled_checkpoint(path.as_posix()) or path


def resolve_init_from(text: str | Path) -> str:
    """Return the value of `init_from` for a run folder, a checkpoint folder or a model on the Hub.

    A path becomes absolute, so that it is valid in any working directory; the name of a model on the Hub is unchanged.
    """
    checkpoint = resolve_checkpoint(text)
    return str(checkpoint.resolve()) if os.path.isdir(checkpoint) else checkpoint.as_posix()
