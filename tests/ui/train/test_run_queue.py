"""The queue of runs on the page: limits, ownership, estimated starts, and the rows of the list of runs."""

import json
import secrets
import shutil

import gradio as gr
import pytest

from diffusion_demo.training import queue
from diffusion_demo.training.process import SETTINGS
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import model_list
from diffusion_demo.ui.settings import Settings
from diffusion_demo.ui.train import form, run_actions, run_list, run_queue, run_rows, run_status, uploads

ME, OTHER = secrets.token_urlsafe(32), secrets.token_urlsafe(32)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    folder = tmp_path.resolve() / "runs"
    monkeypatch.setattr(model_list, "RUNS", folder)
    monkeypatch.setattr(uploads, "UPLOADS", folder / ".uploads")
    return folder


@pytest.fixture
def public(monkeypatch):
    """A public page with training."""
    settings = Settings(public=True, training=True, watch=True)
    for module in (run_queue, run_rows, run_status, run_actions, run_list.run_ownership, run_queue.limits):
        monkeypatch.setattr(module, "settings", lambda: settings)


def waiting(runs):
    return [entry.run for entry in queue.read_queue(runs).waiting]


def row(name, owner=ME):
    return next(row for row in run_rows.rows(owner)["runs"] if row["name"] == name)


def test_a_waiting_run_is_listed_with_its_place_and_start_and_can_be_moved_and_removed(runs):
    for name, minutes in (("a", 3), ("b", 60), ("c", 15)):
        run_queue.add_new(name, {"data": "x"}, minutes, ME)
    assert [row["name"] for row in run_rows.rows(ME)["runs"]] == ["a", "b", "c"]
    assert row("a")["facts"] == ["number 1, starts next"] and row("a")["actions"] == ["remove"]
    assert row("c")["facts"] == ["number 3, starts in about 63 min"] and row("c")["actions"] == ["move_up", "remove"]
    assert run_status.start_label(run_rows.rows(ME)) == "Add to queue"
    run_queue.move_up("c", ME)
    assert waiting(runs) == ["a", "c", "b"] and row("b")["facts"] == ["number 3, starts in about 18 min"]
    run_queue.pause()
    assert run_rows.rows(ME)["queue"]["paused"] and row("a")["facts"] == ["number 1, paused"]
    run_queue.remove("a", ME)
    assert waiting(runs) == ["c", "b"] and not (runs / "a").exists() and run_list.visible_names(ME)[-1] != "a"
    run_status_of_c = run_status.poll("c", [], ME, None)
    assert "In the queue" in run_status_of_c[1] and not run_status_of_c[4].interactive


def test_a_run_without_a_time_limit_makes_the_waits_behind_it_unknown(runs):
    queue.add_new(runs, "a", {}, None, max_steps=100)
    queue.add_new(runs, "b", {}, 5)
    assert run_queue.seconds_until_start(queue.read_queue(runs)) == {"a": 0.0, "b": None}
    assert row("b")["facts"] == ["number 2"]


def test_a_queued_run_is_deleted_with_its_place_and_its_uploads_are_kept_until_then(runs):
    (runs / ".uploads" / "abc").mkdir(parents=True)
    run_queue.add_new("a", {"data": str(runs / ".uploads" / "abc" / "images")}, 5, ME)
    assert run_actions.uploads_of_run(RunFolder(runs / "a")) == runs / ".uploads" / "abc"
    run_actions.delete("a", ME)
    assert waiting(runs) == [] and not (runs / "a").exists() and not (runs / ".uploads" / "abc").exists()


def test_a_continued_run_that_is_removed_keeps_its_folder(runs, trained_run):
    shutil.copytree(trained_run, runs / "done")
    run_queue.add_resumed("done", 5, ME)
    assert row("done")["label"] == "In the queue"
    with pytest.raises(gr.Error, match="already in the queue"):
        run_queue.add_resumed("done", 5, ME)
    with pytest.raises(gr.Error, match="Remove it from there"):
        run_actions.rename("done", ME, "other")
    run_queue.remove("done", ME)
    assert (runs / "done" / "config.json").is_file() and row("done")["label"] == "Finished"
    assert row("done")["actions"] == ["resume", "export", "rename", "delete"]


@pytest.mark.parametrize(
    ("new", "result"), [("my run", "my-run"), ("../x", "x"), ("done", "done"), ("a/../../b", "a-..-..-b")]
)
def test_a_run_is_renamed_within_the_runs_folder(runs, trained_run, new, result):
    shutil.copytree(trained_run, runs / "done")
    run_actions.rename("done", ME, new)
    assert [path.name for path in runs.iterdir()] == [result]


@pytest.mark.parametrize("new", ["", "...", "  ", "Taken", "taken"])
def test_a_name_that_is_empty_or_taken_is_refused(runs, trained_run, new):
    for name in ("done", "taken"):
        shutil.copytree(trained_run, runs / name)
    with pytest.raises(gr.Error):
        run_actions.rename("done", ME, new)
    assert sorted(path.name for path in runs.iterdir()) == ["done", "taken"]


@pytest.mark.usefixtures("public")
def test_a_public_page_limits_the_queue_and_each_visitor_and_keeps_the_order_of_others(runs, monkeypatch):
    for name in ("a", "b"):
        run_queue.add_new(name, {}, 5, ME)
    with pytest.raises(gr.Error, match="You have 2 runs in the queue"):
        run_queue.add_new("c", {}, 5, ME)
    run_queue.add_new("c", {}, 5, OTHER)
    with pytest.raises(gr.Error, match="belongs to another visitor"):
        run_queue.move_up("c", OTHER)
    for action in (run_queue.remove, run_queue.move_up, run_actions.delete):
        with pytest.raises(gr.Error, match="belongs to another visitor"):
            action("a", OTHER)
    with pytest.raises(gr.Error, match="cannot be paused"):
        run_queue.pause()
    run_queue.move_up("b", ME)
    assert waiting(runs) == ["b", "a", "c"]
    assert row("c", OTHER)["actions"] == ["move_up", "remove"] and row("c", ME)["actions"] == []
    monkeypatch.setattr(run_queue, "MAX_WAITING", 3)
    with pytest.raises(gr.Error, match="full"):
        run_queue.add_new("d", {}, 5, secrets.token_urlsafe(32))
    assert not (runs / "d").exists()


def test_what_cannot_be_written_leaves_no_folder(runs, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(queue, "atomic_write", fail)
    with pytest.raises(gr.Error, match="No space left"):
        run_queue.add_new("a", {"data": "x"}, 5, ME)
    assert not (runs / "a").exists()


def test_starting_a_run_whose_name_was_just_taken_changes_nothing(runs):
    run_queue.add_new("a", {"data": "x"}, 5, ME)

    def contents():
        return {path.name: path.read_bytes() for path in (runs / "a").rglob("*") if path.is_file()}

    before = contents()
    with pytest.raises(gr.Error, match="Press Start again"):
        run_queue.add_new("a", {"data": "y"}, 5, OTHER)
    assert waiting(runs) == ["a"] and contents() == before


def test_a_new_run_does_not_get_the_name_of_an_existing_folder(runs):
    (runs / "shapes-1").mkdir(parents=True)
    assert form._unused_name("shapes") == "shapes-2"


def test_a_run_whose_settings_were_written_but_that_is_not_in_the_queue_could_not_start(runs):
    (runs / "a").mkdir(parents=True)
    (runs / "a" / SETTINGS).write_text(json.dumps({}))
    assert row("a")["label"] == "Could not start" and "delete" in row("a")["actions"]
