"""How many cores a container may use: it sees all of the machine's, and stands still when its threads have used up what it was granted."""

from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cpu_quota(cgroup: Path = CGROUP) -> int | None:
    """As many whole cores as the quota of Linux' cgroups is worth, at least one; None where there is no quota."""
    for read in (_version_2, _version_1):
        with suppress(OSError, ValueError):  # no such file, or no number: no such quota
            quota, period = read(cgroup)
            if quota > 0 and period > 0:
                return max(1, quota // period)
    return None


def _version_2(cgroup: Path) -> tuple[int, int]:
    quota, period = (cgroup / "cpu.max").read_text().split()
    return int(quota), int(period)


def _version_1(cgroup: Path) -> tuple[int, int]:
    quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(quota), int(period)
