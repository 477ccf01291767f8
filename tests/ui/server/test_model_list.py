"""List of models on the page."""

import shutil

from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.ui.server import model_list


def test_a_damaged_model_is_omitted(random_checkpoint, monkeypatch, tmp_path):
    for name in ("broken", "good"):
        shutil.copytree(random_checkpoint, tmp_path / "checkpoints" / name)
    (tmp_path / "checkpoints" / "broken" / "diffusion_demo.json").write_text("{")
    monkeypatch.setattr(model_list, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(model_list, "RUNS", tmp_path / "runs")
    models = model_list.model_folders()
    assert {name: folder for name, folder in models.items() if name not in ORACLES} == {
        "good": tmp_path / "checkpoints" / "good"
    }
    assert next(iter(models)) == "good" and set(ORACLES) < set(models)
    titles = {name: title for title, name in model_list.model_choices()}
    assert titles["good"] == "Good, 16x16 (bundled)" and titles["oracle-pixels"] == "Exact: independent pixels"
