"""A walk in a thread of its own, and what of it is seen."""

import threading
from contextlib import closing

import pytest
import torch

from diffusion_demo.diffusion.samplers import Step
from diffusion_demo.errors import BadInput
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.request import Request
from diffusion_demo.ui.preview.progress_stream import duration, watch


def steps(total, before=lambda i: None):
    for i in range(1, total + 1):
        before(i)
        yield Step(total - i, total - i - 1, torch.zeros(1), torch.zeros(1), i, total)


def indices(updates):
    return [[step.index for step in seen] for seen in updates]


def test_kept_steps_and_the_last_are_seen_whatever_the_pace():
    seen = indices(watch(steps(5000), kept={1, 7, 4000, 5000}))
    flat = [index for sight in seen for index in sight]
    assert {1, 7, 4000, 5000} <= set(flat) and flat == sorted(set(flat)) and flat[-1] == 5000
    assert len(flat) < 1000, "steps that nobody could see were kept"


def test_a_slow_walk_is_seen_whole_one_step_at_a_time():
    go, seen = threading.Semaphore(1), []
    for sight in watch(steps(4, lambda i: go.acquire())):
        seen.append([step.index for step in sight])
        go.release()
    assert seen == [[1], [2], [3], [4]]


def test_closing_ends_the_walk_within_a_step():
    asked, go = [], threading.Semaphore(1)

    def before(i):
        go.acquire()
        asked.append(i)

    with closing(watch(steps(100, before))) as updates:
        assert [step.index for step in next(updates)] == [1]
    walk = next(thread for thread in threading.enumerate() if thread.name == "walk")
    go.release(50)
    walk.join(20)
    assert not walk.is_alive() and len(asked) <= 2


def test_what_goes_wrong_in_the_walk_is_raised_where_it_is_watched():
    def refuse(i):
        if i == 3:
            raise BadInput("no more")

    updates = watch(steps(5, refuse))
    with pytest.raises(BadInput, match="no more"):
        list(updates)


def test_two_walks_never_overlap():
    inside, most = [], []

    def before(i):
        inside.append(i)
        most.append(len(inside))
        inside.pop()

    threads = [threading.Thread(target=lambda: list(watch(steps(2000, before)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 6000 and max(most) == 1


def test_watched_images_are_the_same_as_unwatched_ones(checkpoint):
    request = Request(2, steps=3, seed=4, precision="fp32")
    watched = [seen[-1] for seen in watch(sample(checkpoint, request))][-1]
    assert torch.equal(watched.xt, last_step(sample(checkpoint, request)).xt)


def test_durations_as_a_person_says_them():
    assert [duration(s) for s in (0.04, 3.21, 42.4, 600)] == ["0.0 s", "3.2 s", "42 s", "10 min"]
