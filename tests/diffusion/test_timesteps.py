"""Timesteps of samplers, compared with diffusers and the papers' code, and sampling of t in training."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffusion_demo.diffusion.timesteps import (
    LossAwareTimesteps,
    spaced_timesteps,
    stratified_timesteps,
    uniform_timesteps,
)


@given(st.data())
def test_spaced_timesteps_have_both_ends_the_right_count_and_only_rise(data):
    num_timesteps = data.draw(st.integers(2, 4000))
    count = data.draw(st.integers(2, num_timesteps))
    steps = spaced_timesteps(num_timesteps, count)
    assert len(steps) == count and steps[0] == 0 and steps[-1] == num_timesteps - 1
    gaps = np.diff(steps)
    assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 2


@pytest.mark.parametrize("count", [25, 50, 250])
def test_spaced_timesteps_equal_diffusers_linspace(count):
    scheduler = DDPMScheduler(1000, timestep_spacing="linspace")
    scheduler.set_timesteps(count)
    assert spaced_timesteps(1000, count) == scheduler.timesteps.flip(0).tolist()


def test_one_step_alone_is_the_noisiest():
    assert spaced_timesteps(1000, 1) == [999]
    assert spaced_timesteps(1, 1) == [0]


def test_all_steps_are_every_step():
    assert spaced_timesteps(1000, 1000) == list(range(1000))


@pytest.mark.parametrize("count", [-1, 0, 1001])
def test_no_steps_and_more_steps_than_T_are_refused(count):
    with pytest.raises(ValueError, match=f"from 1 to 1000.*not {count}"):
        spaced_timesteps(1000, count)


def test_sections_have_both_their_ends_and_the_first_are_longer():
    steps = spaced_timesteps(1000, "10,15,20")
    assert len(steps) == 45 and steps == sorted(steps)
    assert (steps[0], steps[9], steps[10], steps[24], steps[25], steps[-1]) == (0, 333, 334, 666, 667, 999)


def test_ddim_spacing_is_the_smallest_whole_stride_and_ends_below_the_last_step():
    assert spaced_timesteps(1000, "ddim50") == list(range(0, 1000, 20))
    assert spaced_timesteps(1000, "ddim30") == list(range(0, 1000, 34))
    with pytest.raises(ValueError, match="300"):
        spaced_timesteps(1000, "ddim300")


@pytest.mark.parametrize("count", [10, 20, 50])
@pytest.mark.parametrize("kind", ["leading", "trailing"])
def test_leading_and_trailing_equal_diffusers(kind, count):
    scheduler = DDPMScheduler(num_train_timesteps=1000, timestep_spacing=kind)
    scheduler.set_timesteps(count)
    assert spaced_timesteps(1000, f"{kind}:{count}") == scheduler.timesteps.flip(0).tolist()


def test_quadratic_spacing_is_densest_at_the_clean_end():
    steps = spaced_timesteps(1000, "quadratic:20")
    assert (steps[0], steps[-1], len(steps)) == (0, 999, 20)
    assert all(later >= earlier for earlier, later in zip(np.diff(steps)[:-1], np.diff(steps)[1:] + 1, strict=True))


def papers_space_timesteps(num_timesteps, counts):
    """The list rule of space_timesteps in openai/guided-diffusion (MIT License), for numbers per section."""
    size, extra = divmod(num_timesteps, len(counts))
    start, steps = 0, []
    for i, count in enumerate(counts):
        length = size + (1 if i < extra else 0)
        if length < count:
            raise ValueError
        stride = 1 if count <= 1 else (length - 1) / (count - 1)
        position = 0.0
        for _ in range(count):
            steps.append(start + round(position))
            position += stride
        start += length
    return sorted(set(steps))


@given(st.data())
def test_sections_are_those_of_the_papers_code_as_a_list_and_as_text(data):
    num_timesteps = data.draw(st.integers(20, 1000))
    counts = data.draw(st.lists(st.integers(0, num_timesteps // 6), min_size=2, max_size=6).filter(any))
    expected = papers_space_timesteps(num_timesteps, counts)
    assert spaced_timesteps(num_timesteps, counts) == expected
    assert spaced_timesteps(num_timesteps, tuple(counts)) == expected
    assert spaced_timesteps(num_timesteps, ",".join(map(str, counts))) == expected


def test_no_spacing_is_every_timestep_and_a_list_of_one_count_is_that_count():
    assert spaced_timesteps(100, "") == list(range(100)) == papers_space_timesteps(100, [100])
    assert spaced_timesteps(1000, [250]) == spaced_timesteps(1000, 250) == papers_space_timesteps(1000, [250])


@pytest.mark.parametrize("spacing", [[], [0, 0], [2.5, 3], [True, 2], ["a"], [600, 600], [-1, 5], "0,0", "--3"])
def test_lists_that_do_not_fit_are_refused(spacing):
    with pytest.raises(ValueError, match="steps"):
        spaced_timesteps(1000, spacing)


@pytest.mark.parametrize("spacing", ["ten", "0", "1001", "ddim", "400,400,400", "sideways:10", "leading:0", "-3"])
def test_a_spacing_that_does_not_fit_is_refused(spacing):
    with pytest.raises(ValueError, match=r"steps|spacing"):
        spaced_timesteps(1000, spacing)


@given(st.sampled_from([1, 2, 4, 5, 8, 20, 100]), st.integers(0, 2**31))
def test_drawn_timesteps_put_exactly_one_into_each_stratum(count, seed):
    t = stratified_timesteps(count, 1000, torch.Generator().manual_seed(seed))
    assert t.dtype == torch.int64
    assert sorted((t // (1000 // count)).tolist()) == list(range(count))


@given(st.integers(1, 64), st.integers(1, 50), st.integers(0, 2**31))
def test_drawn_timesteps_stay_inside_the_chain(count, num_timesteps, seed):
    t = stratified_timesteps(count, num_timesteps, torch.Generator().manual_seed(seed))
    assert t.shape == (count,) and t.min() >= 0 and t.max() < num_timesteps


def test_each_place_of_the_batch_draws_its_timestep_uniformly():
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([stratified_timesteps(8, 20, generator) for _ in range(4000)])
    for place in (0, 3, 7):
        counts = torch.bincount(draws[:, place], minlength=20).numpy()
        assert stats.chisquare(counts).pvalue > 1e-3


def test_drawn_timesteps_are_decided_by_the_generator():
    first, again, other = (stratified_timesteps(16, 1000, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_loss_aware_draws_are_uniform_until_every_t_has_its_history():
    sampler = LossAwareTimesteps(4, history=3)
    sampler.update(torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]), torch.arange(11.0))
    assert torch.equal(sampler.probabilities(), torch.full((4,), 0.25, dtype=torch.float64))
    sampler.update(torch.tensor([3]), torch.tensor([1.0]))
    assert not torch.equal(sampler.probabilities(), torch.full((4,), 0.25, dtype=torch.float64))


def test_loss_aware_probabilities_follow_the_root_mean_square_of_the_last_losses():
    sampler = LossAwareTimesteps(3, history=2, uniform_share=0.1)
    for losses in ([9.0, 9.0, 9.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]):
        sampler.update(torch.arange(3), torch.tensor(losses))
    rms = np.sqrt([(1 + 9) / 2, 4, (9 + 1) / 2])
    np.testing.assert_allclose(sampler.probabilities().numpy(), 0.9 * rms / rms.sum() + 0.1 / 3, rtol=1e-12)


def test_loss_aware_weights_keep_the_mean_loss_unbiased():
    sampler, truth = LossAwareTimesteps(5, history=1), torch.tensor([1.0, 5.0, 0.2, 3.0, 9.0])
    sampler.update(torch.arange(5), truth)
    t, weights = sampler.draw(40_000, torch.Generator().manual_seed(0))
    estimates = weights * truth[t]
    assert abs(estimates.mean() - truth.mean()) < 4 * estimates.std() / 200
    assert torch.bincount(t, minlength=5).argmax() == 4
    assert float((1 / (5 * sampler.probabilities()) * sampler.probabilities()).sum()) == pytest.approx(1.0)


def test_uniform_draws_are_uniform():
    t = uniform_timesteps(20_000, 20, torch.Generator().manual_seed(0))
    assert t.dtype == torch.int64 and t.min() == 0 and t.max() == 19
    assert stats.chisquare(torch.bincount(t, minlength=20).numpy()).pvalue > 1e-3
