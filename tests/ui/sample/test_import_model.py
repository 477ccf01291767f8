"""Import of an OpenAI checkpoint on the Sample tab."""

import gradio as gr
import pytest
import torch

from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.ui.sample import import_model
from diffusion_demo.ui.server import model_list, warmup
from tests.models.openai.reference_unet import Settings, random_unet

OPTIONS = "--num-heads 1 --beta-schedule cosine --num-train-timesteps 100 --image-size 16"


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(model_list, "IMPORTED", tmp_path / "imported")
    warmup._ready.set()
    return tmp_path


@pytest.fixture
def file(folder):
    path = folder / "ema 0.9999.pt"
    torch.save(random_unet(Settings()).state_dict(), path)
    return str(path)


def test_the_model_is_imported_listed_and_selected(file):
    line, update = import_model.import_file(file, OPTIONS)
    assert "parameters" in line and update.value in model_list.model_folders()
    assert load_checkpoint(model_list.model_folders()[update.value]).description.image_size == 16
    _, again = import_model.import_file(file, OPTIONS)
    assert again.value != update.value and again.value in model_list.model_folders(), "nothing is overwritten"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "needs more options: --num-heads N or --num-head-channels C"),
        ("--num-heads one", "cannot be read"),
        ("--num-hats 3", "cannot be read"),
        ('--num-heads "1', "cannot be read"),
        (f"{OPTIONS} --out /etc/model", "Leave them out here"),
        (f"{OPTIONS} --ou /etc/model", "cannot be read"),
        (f"{OPTIONS} --class-names /etc/passwd", "Leave them out here"),
    ],
)
def test_missing_invalid_and_forbidden_options_are_errors(file, options, words):
    with pytest.raises(gr.Error, match=words):
        import_model.import_file(file, options)
    assert not list(model_list.IMPORTED.glob("*"))


def test_no_file_and_another_format_are_errors(folder):
    (folder / "notes.pt").write_text("nothing of the kind")
    for path, words in ((str(folder / "notes.pt"), "not a file of plain tensors"), (None, "Drop a .pt file first")):
        with pytest.raises(gr.Error, match=words):
            import_model.import_file(path, OPTIONS)
