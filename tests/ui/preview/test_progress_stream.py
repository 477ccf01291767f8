"""Progress stream: sampling in a thread with a bounded rate of updates."""

import threading
from contextlib import closing

import pytest
import torch

from diffusion_demo.diffusion.samplers import Step
from diffusion_demo.errors import BadInput
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.request import Request
from diffusion_demo.ui.duration import duration
from diffusion_demo.ui.preview.progress_stream import watch


def steps(total, before=lambda i: None):
    for i in range(1, total + 1):
        before(i)
        yield Step(total - i, total - i - 1, torch.zeros(1), torch.zeros(1), i, total)


def indices(updates):
    return [[step.index for step in update] for update in updates]


def test_recorded_steps_and_the_last_are_yielded_at_any_speed():
    updates = indices(watch(steps(5000), recorded={1, 7, 4000, 5000}))
    flat = [index for update in updates for index in update]
    assert {1, 7, 4000, 5000} <= set(flat) and flat == sorted(set(flat)) and flat[-1] == 5000
    assert len(flat) < 1000, "steps that are never shown must be dropped"


def test_every_step_of_a_slow_sampler_is_yielded():
    go, updates = threading.Semaphore(1), []
    for update in watch(steps(4, lambda i: go.acquire())):
        updates.append([step.index for step in update])
        go.release()
    assert updates == [[1], [2], [3], [4]]


def test_closing_stops_the_sampler_within_one_step():
    started, go = [], threading.Semaphore(1)

    def before(i):
        go.acquire()
        started.append(i)

    with closing(watch(steps(100, before))) as updates:
        assert [step.index for step in next(updates)] == [1]
    thread = next(thread for thread in threading.enumerate() if thread.name == "sampler")
    go.release(50)
    thread.join(20)
    assert not thread.is_alive() and len(started) <= 2


def test_an_error_of_the_sampler_is_raised_to_the_reader():
    def fail(i):
        if i == 3:
            raise BadInput("no more")

    updates = watch(steps(5, fail))
    with pytest.raises(BadInput, match="no more"):
        list(updates)


def test_samplers_never_overlap():
    inside, counts, someone_else = [], [], threading.Event()

    def before(i):
        inside.append(i)
        counts.append(len(inside))
        someone_else.wait(0.01)  # nobody comes; without the lock, the two others would
        inside.pop()

    threads = [threading.Thread(target=lambda: list(watch(steps(10, before)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 30 and max(counts) == 1


def test_watching_does_not_change_the_images(checkpoint):
    request = Request(2, steps=3, seed=4, precision="fp32")
    watched = [update[-1] for update in watch(sample(checkpoint, request))][-1]
    assert torch.equal(watched.xt, last_step(sample(checkpoint, request)).xt)


def test_duration_format():
    assert [duration(s) for s in (0.04, 3.21, 42.4, 600, 9000)] == ["0.0 s", "3.2 s", "42 s", "10 min", "2.5 h"]
