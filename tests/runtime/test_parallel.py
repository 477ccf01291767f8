"""Data parallelism over CPU cores: split of the rows, threads, exceptions, and equality with one core."""

import threading
import weakref

import pytest
import torch
from torch import nn

from diffusion_demo.runtime import parallel
from diffusion_demo.runtime.parallel import initial_num_threads, parallel_map, parallel_results, split_rows, start_pool
from diffusion_demo.sampling.generate import sample
from diffusion_demo.sampling.request import Request


class Network(nn.Linear):
    """A network of four weights with a given `device` attribute."""

    def __init__(self, device):
        super().__init__(2, 2, bias=False)
        self.device = torch.device(device)


def test_rows_are_cut_evenly_and_only_where_that_is_faster(threads, monkeypatch):
    threads(3)
    assert split_rows(8, Network("cpu")) == [slice(0, 2), slice(2, 5), slice(5, 8)]
    assert split_rows(2, Network("cpu")) == [slice(0, 1), slice(1, 2)], "no row is needed for each core"
    assert split_rows(2, Network("cuda")) == [slice(0, 2)]
    assert split_rows(5, Network("cpu"), min_rows=2) == [slice(0, 2), slice(2, 5)]
    assert split_rows(1, Network("cpu"), min_rows=2) == [slice(0, 1)]
    assert split_rows(8, Network("cpu"), max_parts=2) == [slice(0, 4), slice(4, 8)]
    assert split_rows(8, Network("cuda")) == [slice(0, 8)]
    monkeypatch.setattr(parallel, "MAX_PARAMETERS", 3)
    assert split_rows(8, Network("cpu")) == [slice(0, 8)]


def test_each_core_works_alone_and_all_at_once_while_other_threads_keep_theirs(threads):
    threads(2)
    meet = threading.Barrier(2)

    def work(part):
        meet.wait(20)
        return part, torch.get_num_threads(), threading.current_thread().name

    (a, alone, first), (b, also_alone, second) = parallel_map(work, ["a", "b"])
    assert (a, b, alone, also_alone) == ("a", "b", 1, 1) and first != second
    elsewhere = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert torch.get_num_threads() == 2 and elsewhere == [2, 2]
    assert split_rows(2, Network("cpu")) == [slice(0, 1), slice(1, 2)]


def test_what_goes_wrong_is_raised_once_all_have_ended(threads):
    threads(2)
    ended = threading.Event()

    def work(part):
        if part == "wrong":
            raise ValueError("no such part")
        threading.Event().wait(0.3)
        ended.set()

    with pytest.raises(ValueError, match="no such part"):
        parallel_map(work, ["wrong", "slow"])
    assert ended.is_set()


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 17, 64])
def test_any_number_of_cores_gives_the_results_in_order(threads, cores):
    threads(cores)
    parts = split_rows(16, Network("cpu"))
    assert len(parts) == min(cores, 16)
    assert [row for rows in parallel_map(lambda part: list(range(16))[part], parts) for row in rows] == list(range(16))
    assert torch.get_num_threads() == initial_num_threads() == cores


def test_a_result_that_was_dropped_is_not_kept(threads):
    threads(4)
    ended = [weakref.ref(result) for result in parallel_results(lambda part: torch.empty(part), range(1, 5))]
    assert [reference() for reference in ended[:-1]] == [None] * 3


def test_a_caller_that_stops_listening_waits_for_the_parts_that_run(threads):
    threads(2)
    ended = threading.Event()

    def work(part):
        if part:
            threading.Event().wait(0.3)
            ended.set()

    results = parallel_results(work, [0, 1])
    next(results)
    results.close()
    assert ended.is_set()


def test_a_thread_that_was_left_with_one_core_gets_all_with_its_next_work(threads):
    threads(3)
    start_pool()
    found = []

    def unlucky():
        """What a thread is left with that first uses torch while the pool's threads start."""
        torch.set_num_threads(1)
        parallel_map(lambda part: None, [1])
        found.append((torch.get_num_threads(), initial_num_threads(), len(split_rows(8, Network("cpu")))))

    thread = threading.Thread(target=unlucky)
    thread.start()
    thread.join()
    assert found == [(3, 3, 3)] and torch.get_num_threads() == 3
    assert parallel_map(lambda part: torch.get_num_threads(), [1, 2, 3]) == [1, 1, 1], "the pool's threads keep one"


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm_solver"])
def test_every_step_of_images_that_the_cores_share_is_that_of_one_core(checkpoint, threads, sampler):
    request = Request(
        num_images=5,
        sampler=sampler,
        steps=4,
        seed=3,
        guidance_scale=2.0,
        eta=0.0 if sampler == "ddpm" else 0.5,
        precision="fp32",
    )
    threads(2)
    shared = list(sample(checkpoint, request))
    again = list(sample(checkpoint, request))
    threads(1)
    alone = list(sample(checkpoint, request))
    assert len(shared) == len(alone) == 4
    for a, b, c in zip(shared, alone, again, strict=True):
        assert (a.t, a.t_reached, a.index, a.total) == (b.t, b.t_reached, b.index, b.total)
        torch.testing.assert_close(a.xt, b.xt, rtol=0, atol=1e-3)
        torch.testing.assert_close(a.x0, b.x0, rtol=0, atol=1e-3)
        assert torch.equal(a.xt, c.xt), "a repeated request gives the same bits"
