"""A file of OpenAI's that was dropped on the page becomes a model in its list, or a sentence."""

import gradio as gr
import pytest
import torch

from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.ui.sample import import_model
from diffusion_demo.ui.server import model_list, warmup
from tests.models.openai.reference_unet import Settings, random_unet

TOLD = "--num-heads 1 --beta-schedule cosine --num-train-timesteps 100 --image-size 16"


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


def test_it_is_imported_beside_the_runs_listed_and_chosen(file):
    line, models = import_model.import_file(file, TOLD)
    assert "parameters" in line and models.value in model_list.models()
    assert load_checkpoint(model_list.models()[models.value]).description.image_size == 16
    _, again = import_model.import_file(file, TOLD)
    assert again.value != models.value and again.value in model_list.models(), "nothing is overwritten"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("", "does not tell everything; give as well --num-heads N or --num-head-channels C"),
        ("--num-heads one", "cannot be read"),
        ("--num-hats 3", "cannot be read"),
        ('--num-heads "1', "cannot be read"),
        (f"{TOLD} --out /etc/model", "leave them out here"),
        (f"{TOLD} --ou /etc/model", "cannot be read"),
        (f"{TOLD} --class-names /etc/passwd", "leave them out here"),
    ],
)
def test_what_is_missing_or_not_meant_for_a_page_is_said(file, told, words):
    with pytest.raises(gr.Error, match=words):
        import_model.import_file(file, told)
    assert not list(model_list.IMPORTED.glob("*"))


def test_another_file_and_none_are_refused(folder):
    (folder / "notes.pt").write_text("nothing of the kind")
    for path, words in ((str(folder / "notes.pt"), "no file of plain tensors"), (None, "Drop a .pt file first")):
        with pytest.raises(gr.Error, match=words):
            import_model.import_file(path, TOLD)
