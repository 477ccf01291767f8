"""List of models on the page, and the cache of those in use."""

import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import FILE, ORACLES
from diffusion_demo.ui.server import model_cache, model_list


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


def test_a_model_is_loaded_once_until_its_folder_changes_or_nobody_uses_it(random_checkpoint, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(random_checkpoint, folder)
    first = model_cache.load(folder)
    model_cache.unload_if_idle(3600)
    assert model_cache.load(folder) is first and model_cache.load(folder).weights
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    os.utime(folder / FILE, (2e9, 2e9))  # metadata are written with the weights
    replaced = model_cache.load(folder)
    assert replaced.weights != first.weights and not any(p.any() for p in replaced.unet.parameters())
    model_cache.unload_if_idle(-1)
    assert model_cache.load(folder) is not replaced
    shutil.rmtree(folder)
    with pytest.raises(BadInput):
        model_cache.load(folder)
