"""CPU quota of cgroup v1 and v2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffusion_demo.runtime.cpu_quota import cpu_quota

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n"}, None),
        ({"cpu.max": ""}, None),
        ({}, None),
    ],
)
def test_the_quota_is_read_in_whole_cores(tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_quota(tmp_path) == cores


WITH_QUOTA = """
import os, pathlib, sys

read_text = pathlib.Path.read_text
files = {"/sys/fs/cgroup/cpu.max": sys.argv[1]}  # the kernel's file, which only a container's host can write
pathlib.Path.read_text = lambda path, *options: files.get(path.as_posix()) or read_text(path, *options)
import diffusion_demo

print(os.environ.get("OMP_NUM_THREADS"))
"""


@pytest.mark.skipif(os.cpu_count() == 1, reason="needs at least two cores")
@pytest.mark.parametrize(("quota", "variable", "threads"), [(1, None, "1"), (1000, None, "None"), (1, "7", "7")])
def test_torch_is_told_of_fewer_cores_unless_somebody_said_how_many(quota, variable, threads):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | (
        {"OMP_NUM_THREADS": variable} if variable else {}
    )
    line = [sys.executable, "-c", WITH_QUOTA, f"{quota}00000 100000"]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == threads
