"""Loss curves and preview timeline of a run."""

from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import Status, read_status
from diffusion_demo.ui.train import plots


def test_smoothing_starts_at_the_first_value_and_keeps_a_constant_constant():
    assert plots.smoothed([(1, 5.0)]) == [(1, 5.0)]
    assert all(abs(value - 2.0) < 1e-12 for _, value in plots.smoothed([(step, 2.0) for step in range(50)]))
    rising = [value for _, value in plots.smoothed([(step, float(step)) for step in range(100)])]
    assert rising == sorted(rising) and rising[-1] < 99


def test_thinning_keeps_the_last_point():
    points = [(step, 1.0) for step in range(5001)]
    thin = plots.thinned(points)
    assert len(thin) <= plots.MAX_POINTS and thin[-1] == points[-1]
    assert plots.thinned(points[:7]) == points[:7] and plots.thinned([]) == []


def points(view, line):
    """Return the y values of a line by x."""
    chart = view["chart"]
    return {x: y for x, y in zip(chart["xs"], chart["series"][line]["values"], strict=True) if y is not None}


def test_lines_keep_their_own_points_and_those_without_points_are_left_out():
    steps = tuple({"step": step, "loss": 1 / step, "bands": [0.5, None, None, None]} for step in (1, 5, 10))
    run = Status("running", steps=steps)
    assert [view["name"] for view in plots.curves(run)["views"]] == ["Loss", "By noise level"]
    assert [series["label"] for series in plots.curves(run)["views"][1]["chart"]["series"]] == ["Lowest noise"]
    assert plots.curves(Status("empty"))["views"] == []
    compared = plots.comparison({"long": run, "short": Status("failed", steps=steps[:2]), "new": Status("running")})
    assert [series["label"] for series in compared["chart"]["series"]] == ["long", "short"]
    assert list(points(compared, 0)) == [1, 5, 10] and list(points(compared, 1)) == [1, 5]


def test_accuracy_of_a_classifier_is_in_percent_of_both_axes():
    measured = ({"step": 5, "loss": 1.0, "bands": [0.5, 1.0]}, {"step": 9, "loss": 0.5, "bands": [0.25, None]})
    (accuracy,) = (view for view in plots.curves(Status("running", "classifier", held_out=measured))["views"][1:])
    assert points(accuracy, 0) == {25: 50, 75: 0} and points(accuracy, 1) == {25: 75}
    assert accuracy["chart"]["x"]["range"] == accuracy["chart"]["y"]["range"] == [0, 100]


def test_curves_and_timeline_of_a_run(trained_run):
    status = read_status(RunFolder(trained_run))
    total, noise = plots.curves(status)["views"]
    names = [series["label"] for series in total["chart"]["series"]]
    assert names == ["Training (every 5 steps)", "Training (smoothed)", "Validation"]
    assert list(points(total, 2)) == [6, 12]
    for view in (total, noise):
        assert view["chart"]["x"] == {"title": "Training step", "range": [0, 12], "whole": True}
        assert view["chart"]["y"]["log"] and view["chart"]["latest"]
    assert len(noise["chart"]["series"]) == 4 and all(points(noise, i) for i in range(4))
    frames = plots.timeline(trained_run, status, "")["frames"]
    assert [frame["step"] for frame in frames] == [12]
    assert all(frames[0][kind].startswith("data:image/png;base64,") for kind in ("averaged", "raw", "nearest"))
    hidden = plots.timeline(trained_run, status, "", shows_training_images=False)["frames"]
    assert hidden[0]["raw"] and hidden[0]["nearest"] is None, "on a public page the images are their owner's alone"
