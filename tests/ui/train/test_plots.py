"""Loss curves and preview timeline of a run."""

from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.status import read_status
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


def test_curves_and_timeline_of_a_run(trained_run):
    status = read_status(RunFolder(trained_run))
    total, noise = plots.curves(status)["views"]
    assert [line["name"] for line in total["lines"]] == ["Every 5 steps", "Training (smoothed)", "Validation"]
    assert [step for step, _ in total["lines"][2]["points"]] == [6, 12]
    assert all(view["x"] == "Training step" and "log scale" in view["y"] for view in (total, noise))
    assert len(noise["lines"]) == 4 and all(line["points"] for line in noise["lines"])
    frames = plots.timeline(trained_run, status, "")["frames"]
    assert [frame["step"] for frame in frames] == [12]
    assert all(frames[0][kind].startswith("data:image/png;base64,") for kind in ("averaged", "raw", "nearest"))
    hidden = plots.timeline(trained_run, status, "", shows_training_images=False)["frames"]
    assert hidden[0]["raw"] and hidden[0]["nearest"] is None, "on a public page the images are their owner's alone"
