"""Every way a training call can end: what is left in the run folder, and what is said (the table in docs/training.md).

These call `train` in this process. Ends that need processes of their own are in test_stops.py, test_distributed.py and
test_resource_errors.py.
"""

import errno
import os
import signal
import threading
import weakref
from contextlib import suppress

import pytest
import torch

from diffusion_demo.data import ScanCache
from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.training import tasks, trainer
from diffusion_demo.training.early_stopping import EarlyStopping
from diffusion_demo.training.loop import Budget
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.trainer import Trainer
from tests.training.events import latest_checkpoint, weights_of


def at_step(number, action):
    """Return an action on a batch that happens at one step and leaves the batches of the others alone."""
    return lambda step, batch: action(batch) if step == number else batch


@pytest.fixture
def on_batch(monkeypatch):
    """Call a function with the step and the batch whenever a batch was made, and train on what it returns."""

    def install(action):
        make_batch = Trainer._make_batch
        monkeypatch.setattr(Trainer, "_make_batch", lambda self, step: action(step, make_batch(self, step)))

    return install


def raising(error):
    def fail(*arguments, **settings):
        raise error

    return fail


def last(run):
    return run.events()[-1]


def assert_saved(run, step):
    """Assert that the latest checkpoint is that of `step` and whole, and that nothing unfinished lies around."""
    assert latest_checkpoint(run).name == f"step_{step:06d}"
    assert load_metadata(latest_checkpoint(run)).steps == step and weights_of(latest_checkpoint(run))
    assert not list(run.path.rglob("*.partial"))


def test_a_step_budget_ends_with_a_checkpoint_before_the_last_preview(train, run):
    list(train())
    assert last(run)["type"] == "finished" and last(run)["reason"] == "max_steps"
    kinds = [event["type"] for event in run.events()]
    assert kinds.index("saved") < kinds.index("preview")
    assert_saved(run, 8)


@pytest.mark.parametrize("end", ["a budget at a saved step", "early stopping", "a step that was previewed"])
def test_every_end_has_one_preview_of_the_last_step(train, run, monkeypatch, end):
    if end == "early stopping":
        monkeypatch.setattr(EarlyStopping, "is_due", property(lambda self: self.best_step == 4))
    settings = {"sample_every": 6 if end == "a step that was previewed" else 1000, "early_stopping_patience": 9}
    list(train(Budget(max_steps=6), save_every=2, **settings))
    assert last(run)["reason"] == ("early_stopped" if end == "early stopping" else "max_steps")
    previews = [event["step"] for event in run.events() if event["type"] == "preview"]
    assert previews == [last(run)["step"]]
    assert_saved(run, previews[0])


def test_the_end_of_the_learning_rate_schedule_ends_the_run_without_a_budget(train, run):
    list(train(Budget(), lr_scheduler="cosine", warmup_steps=1, lr_total_steps=5))
    assert last(run)["type"] == "finished" and last(run)["reason"] == "max_steps"
    assert_saved(run, 5)


def test_a_time_budget_ends_with_a_checkpoint(train, run):
    list(train(Budget(max_minutes=0.01)))
    assert last(run)["type"] == "finished" and last(run)["reason"] == "max_minutes"
    assert_saved(run, last(run)["step"])


@pytest.fixture
def hangup_counts():
    """SIGHUP has its default action, even if the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup_counts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("moment", ["step", "save", "preview", "last event"])
def test_a_signal_at_any_moment_ends_with_all_steps_saved(train, run, on_batch, monkeypatch, number, moment):
    sent = []

    def interrupt():
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    before = {number: signal.getsignal(number)}
    if moment == "step":
        on_batch(at_step(3, lambda batch: (interrupt(), batch)[1]))
    elif moment == "save":
        save = tasks.Denoising.save
        monkeypatch.setattr(tasks.Denoising, "save", lambda *given: (interrupt(), save(*given)))
    elif moment == "preview":
        show = tasks.Denoising.preview
        monkeypatch.setattr(tasks.Denoising, "preview", lambda *given: (interrupt(), show(*given))[1])
    for event in train(Budget(max_steps=100 if moment == "step" else 4)):
        if moment == "last event" and type(event).__name__ == "Finished":
            interrupt()
    assert last(run)["type"] == "finished"
    if moment == "step":  # on a busy machine the handler may run in a later step
        assert last(run)["reason"] == "stopped" and 3 <= last(run)["step"] < 100
    else:
        assert last(run)["step"] == 4
    assert_saved(run, last(run)["step"])
    assert signal.getsignal(number) is before[number]


def test_a_second_ctrl_c_ends_at_once_and_says_what_is_lost(train, run, on_batch):
    def interrupt_twice(batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return batch

    on_batch(at_step(4, interrupt_twice))
    with pytest.raises(KeyboardInterrupt):
        list(train(save_every=2))
    assert last(run)["type"] == "failed" and last(run)["step"] == 3
    assert last(run)["message"] == (
        "Interrupted by a second Ctrl-C. The steps after 2 are lost; --resume continues from there."
    )
    assert_saved(run, 2)


def test_under_nohup_the_loss_of_the_terminal_is_ignored(train, run, on_batch):
    on_batch(at_step(2, lambda batch: (os.kill(os.getpid(), signal.SIGHUP), batch)[1]))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        list(train(Budget(max_steps=3)))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert last(run)["reason"] == "max_steps"


def test_a_caller_that_stops_listening_loses_no_step(train, run):
    events = train()
    for event in events:
        if type(event).__name__ == "Step" and event.step == 5:
            break
    events.close()
    assert_saved(run, 5)


def test_training_runs_in_a_thread_without_signals(train, run):
    thread = threading.Thread(target=lambda: list(train(Budget(max_steps=1))))
    thread.start()
    thread.join()
    assert last(run)["type"] == "finished"


def test_an_unforeseen_error_in_a_step_is_recorded_and_raised_and_loses_no_step(train, run, on_batch):
    on_batch(at_step(4, raising(ValueError("no\nsuch thing."))))
    with pytest.raises(ValueError, match="such thing"):
        list(train())
    message = "Unexpected error (ValueError: no such thing). All 3 steps are saved; --resume continues from there."
    assert last(run) == {"type": "failed", "step": 3, "message": message}
    assert_saved(run, 3)


def test_an_error_in_the_first_step_says_that_none_was_completed(train, run, on_batch):
    on_batch(at_step(1, raising(MemoryError())))
    list(train())
    assert last(run)["message"].startswith("Out of memory with batches of 8 at 16 pixels")
    assert last(run)["message"].endswith("No step was completed.") and run.latest() is None


def test_memory_that_runs_out_in_a_step_loses_no_step(train, run, on_batch):
    on_batch(at_step(4, raising(RuntimeError("CUDA out of memory. Tried to allocate"))))
    list(train())
    assert last(run)["message"].startswith("Out of memory") and "All 3 steps are saved" in last(run)["message"]
    assert_saved(run, 3)


def test_the_tensors_of_a_failed_step_are_freed_before_its_checkpoint_is_saved(train, run, on_batch, monkeypatch):
    kept, freed, write = [], [], Trainer.write_checkpoint

    def fail(batch):
        activations = torch.ones(8)
        kept.append(weakref.ref(activations))
        raise MemoryError

    def look_and_write(self):
        freed.append(kept[0]() is None)
        return write(self)

    on_batch(at_step(4, fail))
    monkeypatch.setattr(Trainer, "write_checkpoint", look_and_write)
    list(train())
    assert freed == [True]
    assert_saved(run, 3)


def test_weights_of_a_step_that_was_broken_off_are_not_saved(train, run, monkeypatch):
    update, calls = torch.optim.AdamW.step, []

    def fail_at_the_fourth(self, *given):
        calls.append(1)
        if len(calls) == 4:
            raise MemoryError
        return update(self, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", fail_at_the_fourth)
    list(train(save_every=2))
    assert "The steps after 2 are lost; --resume continues from there." in last(run)["message"]
    assert_saved(run, 2)


@pytest.mark.parametrize("what", ["preview", "held-out loss"])
def test_what_only_watches_the_training_does_not_end_it(train, run, monkeypatch, what):
    if what == "preview":
        monkeypatch.setattr(tasks.Denoising, "preview", raising(RuntimeError("no image")))
    else:
        monkeypatch.setattr(Trainer, "_measure_held_out", raising(RuntimeError("no image")))
    list(train(Budget(max_steps=4), save_every=2, sample_every=2))
    assert last(run)["type"] == "finished"
    warnings = [event["message"] for event in run.events() if event["type"] == "warned"]
    expected = f"There is no {what} of step 4. Unexpected error (RuntimeError: no image)."
    assert expected in warnings
    assert_saved(run, 4)
    assert what == "preview" or load_metadata(latest_checkpoint(run)).held_out_loss is None


@pytest.mark.parametrize(("save_every", "lost"), [(2, "The steps after 2 are lost;"), (1000, "The 8 steps are lost,")])
def test_a_disk_that_fills_up_in_a_checkpoint_says_which_steps_are_lost(train, run, monkeypatch, save_every, lost):
    save, full = tasks.Denoising.save, raising(OSError(errno.ENOSPC, "No space left on device"))

    def save_the_first(self, folder, network, metadata, training_loss):
        (save if metadata.steps == 2 else full)(self, folder, network, metadata, training_loss)

    monkeypatch.setattr(tasks.Denoising, "save", save_the_first)
    list(train(save_every=save_every))
    assert last(run)["message"].startswith("The disk is full. Free some space, then try again. ")
    assert lost in last(run)["message"] and not list(run.path.rglob("*.partial"))
    assert save_every == 1000 or latest_checkpoint(run).name == "step_000002"


def test_a_disk_that_fills_up_after_a_single_step_says_that_one_step_is_lost(train, run, monkeypatch):
    monkeypatch.setattr(tasks.Denoising, "save", raising(OSError(errno.ENOSPC, "No space left on device")))
    list(train(save_every=1))
    assert "The first step is lost, because no checkpoint was written yet." in last(run)["message"]


def test_a_disk_that_fills_up_in_an_event_still_gets_the_checkpoint_if_that_fits(train, run, monkeypatch):
    append = RunFolder.append

    def fail_at_step_five(self, event):
        if type(event).__name__ == "Step" and event.step == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, event)

    monkeypatch.setattr(RunFolder, "append", fail_at_step_five)
    list(train())
    assert last(run)["type"] == "failed" and "All 5 steps are saved" in last(run)["message"]
    assert_saved(run, 5)


@pytest.mark.parametrize(
    ("kind", "write"),
    [(RunFolder, "write_config"), (ScanCache, "save"), (RunFolder, "begin_call"), (RunFolder, "append")],
)
def test_a_disk_that_is_full_from_the_start_is_refused_and_leaves_no_run(train, run, monkeypatch, kind, write):
    whole = getattr(kind, write)

    def fill_the_disk(self, *given):
        whole(self, *given)
        if write == "append":
            self.events_file.write_bytes(b"")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kind, write, fill_the_disk)
    monkeypatch.setattr(trainer, "MIN_CACHED_BYTES", 0)
    with pytest.raises(BadInput, match=r"^The disk is full\. Free some space, then try again\. Training did not start"):
        list(train())
    assert not run.path.exists()


def not_finite(batch):
    return batch._replace(x0=batch.x0 * torch.nan)


def test_a_batch_that_is_not_finite_is_skipped_and_said_and_changes_no_weight(train, run, on_batch, tmp_path):
    on_batch(at_step(5, not_finite))
    list(train(save_every=4))
    warnings = [event["message"] for event in run.events() if event["type"] == "warned"]
    assert "The loss or its gradient is not finite at step 5. The step is skipped." in warnings
    assert last(run)["type"] == "finished" and last(run)["step"] == 8
    short = RunFolder(tmp_path / "short")
    list(train(Budget(max_steps=5), run=short))
    after, before = weights_of(short.checkpoints / "step_000005"), weights_of(run.checkpoints / "step_000004")
    assert all(torch.equal(after[name], before[name]) for name in before)
    list(train(resume=True, run=short))
    resumed, straight = (weights_of(latest_checkpoint(each)) for each in (short, run))
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


def test_training_gives_up_after_ten_batches_that_are_not_finite_and_saves(train, run, on_batch):
    on_batch(lambda step, batch: not_finite(batch) if step > 3 else batch)
    list(train(Budget(max_steps=100)))
    failed = last(run)
    assert failed["step"] == 13 and failed["message"].startswith(
        "The loss or its gradient was not finite in 10 of the last 1,000 steps. Start a new run with half the learning"
    )
    assert failed["message"].endswith("All 13 steps are saved; --resume continues from there.")
    assert_saved(run, 13)


def test_a_few_batches_that_are_not_finite_now_and_then_are_bearable(train, run, on_batch, monkeypatch):
    monkeypatch.setattr(trainer, "MAX_SKIPPED", 2)
    monkeypatch.setattr(trainer, "SKIP_WINDOW", 3)
    on_batch(lambda step, batch: not_finite(batch) if step % 3 == 0 else batch)
    list(train(Budget(max_steps=10)))
    assert last(run)["type"] == "finished"


def test_weights_that_are_not_finite_are_not_saved_over_good_ones(train, run, monkeypatch):
    update = torch.optim.AdamW.step

    def spoil(self, *given):
        update(self, *given)
        if self.state and next(iter(self.state.values()))["step"] == 4:
            self.param_groups[0]["params"][0].data[0] = torch.inf

    monkeypatch.setattr(torch.optim.AdamW, "step", spoil)
    list(train(save_every=2))
    message = last(run)["message"]
    assert message.startswith("The weights are no longer finite and were not saved. Start a new run from a checkpoint")
    assert "step_000002" in message and "The steps after 2 are lost" in message
    assert_saved(run, 2)


@pytest.mark.parametrize("command", ["stop", "save_now", "sample_now"])
def test_a_command_is_obeyed_after_lines_that_are_none(train, run, command):
    for event in train():
        if type(event).__name__ == "Start":
            run.control_file.write_bytes(b"stop please\n\xff\xfe\n" + f'{{"type": "{command}"}}\n'.encode())
    events = run.events()
    warnings = [event["message"] for event in events if event["type"] == "warned"]
    assert "Ignored a line of control.jsonl that is not a command: 'stop please'." in warnings
    assert last(run)["type"] == "finished"
    steps = {kind: [event["step"] for event in events if event["type"] == kind] for kind in ("saved", "preview")}
    assert (
        steps
        == {
            "stop": {"saved": [], "preview": []},
            "save_now": {"saved": [1, 8], "preview": [8]},
            "sample_now": {"saved": [8], "preview": [1, 8]},
        }[command]
    )


@pytest.mark.parametrize("end", ["budget", "error", "closed", "second Ctrl-C", "refused"])
def test_the_threads_that_make_batches_ahead_end_with_the_run(train, run, on_batch, monkeypatch, end):
    monkeypatch.setattr(Trainer, "_may_prefetch", lambda self: True)
    action = {
        "error": raising(ValueError("in a thread")),
        "second Ctrl-C": lambda batch: [os.kill(os.getpid(), signal.SIGINT) for _ in "12"] and batch,
    }.get(end)
    if action:
        on_batch(at_step(4, action))
    if end == "refused":
        monkeypatch.setattr(RunFolder, "write_config", raising(OSError(errno.ENOSPC, "No space left on device")))
    seen = set()
    with suppress(ValueError, KeyboardInterrupt):
        for event in train(Budget(max_steps=6)):
            seen |= {thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")}
            if end == "closed" and type(event).__name__ == "Step":
                break
    assert seen or end == "refused"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
