"""The tests notice planted faults: two of them here, all with `-m slow`, or with `python -m scripts.mutations`."""

import pytest

from scripts.mutations import FAULTS, is_noticed


def test_there_are_faults_enough_and_no_two_are_the_same():
    assert (
        len({(fault.file, fault.right, fault.wrong) for fault in FAULTS})
        == len({fault.name for fault in FAULTS})
        == len(FAULTS)
        >= 12
    )


@pytest.mark.parametrize("fault", FAULTS[3:24:14], ids=lambda fault: fault.name)
def test_a_planted_fault_turns_a_test_red(fault):
    assert is_noticed(fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_planted_fault_turns_a_test_red(fault):
    assert is_noticed(fault)
