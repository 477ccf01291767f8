"""The tests detect planted faults: two of them here, all with `-m slow` or with `python -m scripts.mutations`."""

import pytest

from scripts.faults import FAULTS
from scripts.mutations import ROOT, is_detected


def test_there_are_at_least_twelve_different_faults():
    changes = {(fault.file, fault.right, fault.wrong) for fault in FAULTS}
    names = {fault.name for fault in FAULTS}
    assert len(changes) == len(names) == len(FAULTS) >= 12


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_changes_one_line_of_today(fault):
    source = (ROOT / "diffusion_demo" / fault.file).read_text(encoding="utf-8")
    assert source.count(fault.right) == 1 and fault.right != fault.wrong
    assert all((ROOT / test.split("::")[0]).is_file() for test in fault.tests.split())


@pytest.mark.parametrize("fault", FAULTS[3:24:14], ids=lambda fault: fault.name)
def test_a_planted_fault_is_detected(fault):
    assert is_detected(fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_planted_fault_is_detected(fault):
    assert is_detected(fault)
