"""CPU quota of the container (cgroup v1 and v2).

A container sees all cores of the machine, but its threads are throttled once they have used up the quota.
"""

from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cpu_quota(cgroup: Path = CGROUP) -> int | None:
    """Return the cgroup CPU quota in whole cores, rounded down but at least 1, or None without a quota."""
    for read_quota in (_read_v2, _read_v1):
        with suppress(OSError, ValueError):  # no file, or no number ("max"): no quota
            quota, period = read_quota(cgroup)
            if quota > 0 and period > 0:
                return max(1, quota // period)
    return None


def _read_v2(cgroup: Path) -> tuple[int, int]:
    quota, period = (cgroup / "cpu.max").read_text().split()
    return int(quota), int(period)


def _read_v1(cgroup: Path) -> tuple[int, int]:
    quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(quota), int(period)
