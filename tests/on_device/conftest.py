"""What all walks share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_part():
    """Run each batch in one part on the CPU, too, so that both devices round alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
