"""Training on a second device that refuses tensors of the first: every task, its previews, held-out loss and resume."""

import shutil

import pytest
from accelerate import Accelerator

from diffusion_demo import data
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.training import events
from diffusion_demo.training.config import config_with_inherited
from diffusion_demo.training.loop import Budget, train
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.trainer import Trainer
from tests.on_device.device import CPU, OTHER, counted, training_on

TASKS = {
    "diffusion": {},
    "loss_aware": {"timestep_sampler": "loss_aware", "accumulation": 2, "ema_decays": (0.9, 0.99)},
    "upsampler": {"task": "upsampler", "small_noise": 0.1},
    "classifier": {"task": "classifier"},
}


def config_for(digits, settings):
    common = {"data": str(digits), "batch_size": 8, "precision": "fp32"}
    shape = {} if "init_from" in settings else {"preset": "tiny", "image_size": 16, "channels": 1}
    chain = {} if "init_from" in settings else {"num_train_timesteps": 100}
    return config_with_inherited(common | shape | chain | settings)


def run_events(device, config, folder, max_steps, resume=False):
    with training_on(device):
        return list(train(config, RunFolder(folder), Budget(max_steps), resume, "a test"))


def assert_alike(device_events, cpu_events):
    """Assert that both runs previewed, measured and saved the same, up to rounding."""
    assert [type(event) for event in device_events] == [type(event) for event in cpu_events]
    for ours, theirs in zip(cpu_events, device_events, strict=True):
        if isinstance(ours, events.HeldOut | events.Step):
            assert theirs.loss == pytest.approx(ours.loss, rel=1e-2)
        if isinstance(ours, events.Start):
            assert theirs.device == str(OTHER)
    assert isinstance(device_events[-1], events.Finished)


@pytest.mark.parametrize("name", TASKS)
def test_a_run_and_its_resume(digits, tmp_path, name):
    config = config_for(digits, TASKS[name])
    for resume, max_steps in ((False, 2), (True, 3)):
        found = [run_events(device, config, tmp_path / device.type, max_steps, resume) for device in (OTHER, CPU)]
        assert_alike(*found)
        assert any(isinstance(event, events.Preview) for event in found[0]) == (name != "classifier")
    latest = RunFolder(tmp_path / OTHER.type).latest()
    assert latest is not None and load_checkpoint(latest).description.steps == 3


def test_a_run_in_bf16_with_batches_made_ahead(digits, tmp_path, monkeypatch):
    """On a GPU the trainer makes batches ahead; here it is told to."""
    monkeypatch.setattr(Trainer, "_may_prefetch", lambda self: self.accelerator.device == OTHER)
    config = config_for(digits, {"precision": "bf16"})
    ours, theirs = (run_events(device, config, tmp_path / device.type, 3) for device in (CPU, OTHER))
    assert_alike(theirs, ours)
    assert [event.precision for event in theirs if isinstance(event, events.Start)] == ["bf16"]
    in_fp32 = run_events(OTHER, config_for(digits, {}), tmp_path / "fp32", 3)
    losses = [[event.loss for event in found if isinstance(event, events.HeldOut)] for found in (theirs, in_fp32)]
    assert losses[0] != losses[1]


def test_a_checkpoint_adapted_to_other_data(random_checkpoint, digits, tmp_path):
    for name, source in (("one", "one"), ("zero", "two")):
        shutil.copytree(digits / source, tmp_path / "data" / name)
    config = config_for(tmp_path / "data", {"init_from": str(random_checkpoint), "image_size": 20})
    assert_alike(*(run_events(device, config, tmp_path / device.type, 1) for device in (OTHER, CPU)))


@pytest.mark.parametrize("name", TASKS)
def test_the_waits_of_one_training_step(digits, tmp_path, name):
    """One wait, for whether the loss is finite; loss-aware timesteps add one, for the losses."""
    with training_on(OTHER):
        config = config_for(digits, TASKS[name])
        arguments = Accelerator(cpu=True), "fp32", config, data.scan(digits), RunFolder(tmp_path / "run"), ""
        trainer = Trainer(*arguments)
        trainer.train_step()
        with counted() as counts:
            trainer.train_step()
    assert len(counts.synchronizations) == (2 if name == "loss_aware" else 1), counts
    assert len(counts.copies) <= 26 * config.accumulation + 1, counts
