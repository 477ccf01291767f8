"""Import of OpenAI's noisy classifiers: the original's logits and gradients, and errors for unsupported files."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from PIL import Image
from torch.nn import functional as F

from diffusion_demo.cli import main
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.models.checkpoint import make_diffusion
from diffusion_demo.models.classifier import Classifier, load_classifier
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.model_card import model_card
from diffusion_demo.models.openai.classifier_layout import read_classifier_layout
from diffusion_demo.models.openai.presets import CLASSIFIERS, named_network
from tests.models.openai.reference_classifier import ClassifierSettings, Encoder, random_classifier
from tests.models.openai.reference_unet import Settings, random_unet
from tests.refusal import Runs, refused

CHAIN = ["--beta-schedule", "cosine", "--num-train-timesteps", "1000"]
ADM = ClassifierSettings(multipliers=(1, 2, 2), blocks=2, attention=(2, 4))
FILE = "64x64_classifier.pt"
CASES = {
    "legacy order, 16 a head": ADM,
    "new order": replace(ADM, new_order=True, multipliers=(1, 2, 3), attention=(1, 4)),
    "no scale-shift, 8 a head": replace(ADM, scale_shift=False, head_channels=8),
    "convolutions halve": replace(ADM, residual_sampling=False, blocks=1),
    "four blocks a level, another size": replace(ADM, blocks=4, multipliers=(1, 2), attention=(2,), image_size=8),
    "the middle alone attends": replace(ADM, attention=()),
    "grayscale, one level": replace(ADM, in_channels=1, multipliers=(1,), attention=(1,), image_size=8),
    "a first level half as wide": replace(ADM, width=64, multipliers=(0.5, 1, 1), classes=2),
    "adaptive pool, 4 heads at two widths": replace(
        ADM, pool="adaptive", head_channels=None, heads=4, attention=(1, 2)
    ),
    "spatial pool": replace(ADM, pool="spatial"),
    "spatial pool after convolutions, 1 head": replace(
        ADM, pool="spatial", residual_sampling=False, head_channels=None
    ),
    "second spatial pool": replace(ADM, pool="spatial_v2", scale_shift=False),
}


def options_of(s):
    """Return the import options of a reference network."""
    heads = ["--num-head-channels", str(s.head_channels)] if s.head_channels else ["--num-heads", str(s.heads)]
    size = [] if s.pool == "attention" else ["--image-size", str(s.image_size)]
    return [*heads, *CHAIN, *size, *(["--new-attention-order"] if s.new_order else [])]


def save_reference(tensors, folder):
    torch.save(tensors, folder / FILE)
    return folder / FILE


def import_reference(original, folder, *more):
    options = [*options_of(original.settings), *more]
    assert (
        main(["import", str(save_reference(original.state_dict(), folder)), "--out", str(folder / "out"), *options])
        == 0
    )
    return load_classifier(folder / "out" / "classifier")


def relative_errors(original, classifier, model_time=lambda t: t, dtype=torch.float32):
    """Return the relative maximum errors of the logits and of d log p(y | x) / dx over several t and all classes y."""
    original, classifier = original.to(dtype), classifier.to(dtype)
    s, t = original.settings, torch.tensor([0, 1, 37, 500, 998, 999])
    xt = (
        torch.randn(len(t), s.in_channels, s.image_size, s.image_size, generator=torch.Generator().manual_seed(1))
        .to(dtype)
        .requires_grad_()
    )
    y = torch.arange(len(t)) % s.classes
    outputs = []
    for logits in (original(xt, model_time(t)), classifier(xt, t)):
        chosen = F.log_softmax(logits, 1)[torch.arange(len(t)), y].sum()
        outputs.append((logits.detach(), torch.autograd.grad(chosen, xt)[0]))
    for theirs, ours in zip(*outputs, strict=True):
        assert theirs.shape == ours.shape and theirs.std() > 1e-4
    return [float((ours - theirs).abs().max() / theirs.abs().max()) for theirs, ours in zip(*outputs, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_an_imported_classifier_has_the_originals_outputs(name, tmp_path):
    original = random_classifier(CASES[name])
    classifier = import_reference(original, tmp_path)
    errors = relative_errors(original, classifier)
    print("relative errors of logits and gradient", errors)
    assert max(errors) < 1e-5
    assert max(relative_errors(original, classifier, dtype=torch.float64)) < 1e-11, (
        "the difference in float32 must be rounding"
    )
    assert sum(p.numel() for p in classifier.parameters()) == sum(p.numel() for p in original.parameters())


def test_wrong_options_change_the_outputs(tmp_path):
    """The order of q, k, v, the head width and the time scale must matter for the cases above to be meaningful."""
    original = random_classifier(ADM)
    for i, wrong in enumerate(
        (
            ["--new-attention-order"],
            ["--num-head-channels", "8"],
            ["--rescale-timesteps", "--num-train-timesteps", "100"],
        )
    ):
        (tmp_path / str(i)).mkdir()
        assert min(relative_errors(original, import_reference(original, tmp_path / str(i), *wrong))) > 1e-3


def test_rescaled_timesteps_are_imported(tmp_path):
    original = random_classifier(ADM)
    classifier = import_reference(original, tmp_path, "--rescale-timesteps", "--num-train-timesteps", "4000")
    assert max(relative_errors(original, classifier, model_time=lambda t: t * (1000 / 4000))) < 1e-5


def test_the_folder_has_metadata_and_a_model_card(tmp_path, capsys):
    classifier = import_reference(random_classifier(ADM), tmp_path)
    assert "parameters on 3 levels of 2 blocks, 5 classes" in capsys.readouterr().out
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    network = {"classifier/config.json", "classifier/diffusion_pytorch_model.safetensors"}
    assert files == {"README.md", "diffusion_demo.json", "scheduler/scheduler_config.json"} | network
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "out"]
    metadata = load_metadata(tmp_path / "out")
    assert (metadata.task, metadata.image_size, metadata.channels, metadata.num_train_timesteps) == (
        "classifier",
        16,
        3,
        1000,
    )
    assert metadata.class_names == ("0", "1", "2", "3", "4") == tuple(classifier.config["class_names"])
    assert metadata.origin == f"imported from {FILE}" and "--beta-schedule cosine" in metadata.command
    scheduler = DDPMScheduler.from_pretrained(tmp_path / "out" / "scheduler")
    assert isinstance(scheduler, DDPMScheduler)
    assert torch.equal(make_diffusion(scheduler.config).betas, named_betas("squaredcos_cap_v2", 1000))
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        "# A noisy classifier" in card
        and "- Classes: 0, 1, 2, 3, 4\n" in card
        and "`Classifier`, which stock diffusers cannot open, 0." in card
    )
    assert "--classifier THIS_FOLDER" in card and "image-classification" in card


def test_the_model_card_counts_many_classes():
    card = model_card(
        CheckpointMetadata(64, 3, 1000, tuple(map(str, range(1000))), task="classifier"),
        65_438_568,
        network="Classifier",
    )
    assert "- Classes: 1000, from 0 to 999\n" in card and "65.44 million" in card


def test_class_names_are_read_from_a_file_and_the_report_can_be_json(tmp_path, capsys):
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\nemu\n")
    classifier = import_reference(
        random_classifier(ADM), tmp_path, "--class-names", str(tmp_path / "names.txt"), "--json"
    )
    assert (
        tuple(classifier.config["class_names"])
        == load_metadata(tmp_path / "out").class_names
        == ("ant", "bee", "cat", "dog", "emu")
    )
    report = json.loads(capsys.readouterr().out)
    assert (report["task"], report["network"], report["classes"], report["widths"]) == (
        "classifier",
        "Classifier",
        5,
        [32, 64, 64],
    )


def test_half_precision_is_read(tmp_path):
    original = random_classifier(ADM).half().float()
    save_reference({name: tensor.half() for name, tensor in original.state_dict().items()}, tmp_path)
    assert main(["import", str(tmp_path / FILE), "--out", str(tmp_path / "out"), *options_of(ADM)]) == 0
    assert max(relative_errors(original, load_classifier(tmp_path / "out" / "classifier"))) < 1e-5


def test_an_imported_classifier_guides_an_imported_model(tmp_path):
    import_reference(random_classifier(ADM), tmp_path)
    unet = random_unet(Settings(out_channels=6, classes=5, head_channels=16))
    torch.save(unet.state_dict(), tmp_path / "model.pt")
    options = ["--num-head-channels", "16", *CHAIN, "--image-size", "16"]
    assert main(["import", str(tmp_path / "model.pt"), "--out", str(tmp_path / "model"), *options]) == 0
    images = []
    for scale in ("0", "50"):
        command = [
            "sample",
            "--checkpoint",
            str(tmp_path / "model"),
            "--classifier",
            str(tmp_path / "out"),
            "--classifier-scale",
            scale,
        ]
        assert (
            main(
                [
                    *command,
                    "--num-images",
                    "1",
                    "--steps",
                    "3",
                    "--class",
                    "2",
                    "--sampler",
                    "ddpm",
                    "--out",
                    str(tmp_path / scale),
                ]
            )
            == 0
        )
        images.append(np.asarray(Image.open(tmp_path / scale / "seed_00000000.png")))
    assert not np.array_equal(*images)


PUBLISHED = {
    "adm-64-classifier": 65_438_568,
    "adm-128-classifier": 42_568_040,
    "adm-256-classifier": 54_096_360,
    "adm-512-classifier": 54_448_360,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_released_classifiers_have_the_published_parameters_and_layouts(name):
    network = named_network(name, "meta")
    assert type(network) is Classifier and {p.device.type for p in network.parameters()} == {"meta"}
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED[name]
    layout = CLASSIFIERS[name].layout
    with torch.device("meta"):
        tensors = Encoder(_settings(layout)).state_dict()
    assert read_classifier_layout(tensors) == layout
    assert sum(tensor.numel() for tensor in tensors.values()) == PUBLISHED[name]


def _settings(layout):
    trunk = layout.trunk
    return ClassifierSettings(
        width=trunk.model_channels,
        multipliers=tuple(width / trunk.model_channels for width in trunk.widths),
        blocks=trunk.blocks,
        attention=tuple(2**level for level, attends in enumerate(trunk.attention) if attends),
        classes=layout.classes,
        head_channels=64,
        image_size=layout.image_size,
    )


def test_a_released_classifier_is_recognized_by_its_layout(tmp_path, capsys):
    assert set(CLASSIFIERS) == set(PUBLISHED)
    with torch.device("meta"):
        save_reference(Encoder(_settings(CLASSIFIERS["adm-64-classifier"].layout)).state_dict(), tmp_path)
    options = "--num-head-channels 64 --beta-schedule squaredcos_cap_v2 --num-train-timesteps 1000 --image-size 64"
    refused([tmp_path / FILE], tmp_path, capsys, f"The released adm-64-classifier has these sizes and uses {options}")


@pytest.mark.parametrize("write", ["torch.save", "pickle", "whole module"])
def test_code_in_a_pickle_is_not_run(write, tmp_path, capsys):
    file, mark = tmp_path / FILE, tmp_path / "mark"
    if write == "torch.save":
        torch.save(random_classifier(ADM).state_dict() | {"out.2.c_proj.bias": Runs(mark)}, file)
    elif write == "pickle":
        file.write_bytes(pickle.dumps(Runs(mark), protocol=2))
    else:
        torch.save({"model": random_classifier(ADM), "more": Runs(mark)}, file)
    refused([file, *options_of(ADM)], tmp_path, capsys, FILE, "contains code, which was not run")
    assert not mark.exists()
    torch.load(file, weights_only=False) if write != "pickle" else pickle.loads(file.read_bytes())
    assert mark.exists(), "the pickle must run if it is allowed to"


def test_a_truncated_file_is_refused(tmp_path, capsys):
    whole = save_reference(random_classifier(ADM).state_dict(), tmp_path).read_bytes()
    for size in (len(whole) // 2, len(whole) - 100, 100, 0):
        (tmp_path / FILE).write_bytes(whole[:size])
        refused([tmp_path / FILE, *options_of(ADM)], tmp_path, capsys, FILE)


def unsupported_files():
    """Return a part of the error message -> the content of an unsupported file."""
    sound = random_classifier(ADM).state_dict()
    flat = random_classifier(replace(ADM, residual_sampling=False)).state_dict()
    unet = random_unet(Settings(residual_sampling=True)).state_dict()

    def without(start, tensors=sound):
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(start)}

    return {
        "has no output_blocks, as a noisy classifier, but its head is none of the pools": without(
            "output_blocks", unet
        ),
        "head is none of the pools attention": sound | {"out.7.weight": torch.zeros(3, 3)},
        "names of diffusers": {"down_blocks.0.resnets.0.conv1.weight": torch.zeros(2, 2)} | sound,
        "no usable tensor middle_block.1.qkv.weight": without("middle_block"),
        "no usable tensor input_blocks.2.0.in_layers.2": without("input_blocks.2.0.in_layers.2"),
        "pools without a convolution": {name: tensor for name, tensor in flat.items() if ".op." not in name},
        "levels of different structure": sound | {"input_blocks.2.0.out_layers.3.weight": torch.zeros(64, 32, 3, 3)},
        "lacks the weights of head.proj.bias": without("out.2.c_proj.bias"),
        "contains a tensor extra.weight": sound | {"extra.weight": torch.zeros(1)},
        "expected no such tensor": sound | {"label_emb.weight": torch.zeros(5, 128)},
        "not a square number": sound | {"out.2.positional_embedding": torch.zeros(64, 16)},
        "for 0 pixels, which": sound | {"out.2.positional_embedding": torch.tensor(1.0)},
        "for 0 pixels": without("out.2.positional_embedding") | {"out.2.more": torch.zeros(1)},
        "head.positional_embedding has shape": sound | {"out.2.positional_embedding": torch.zeros(32, 17)},
        "unsupported format": sound | {"out.2.c_proj.bias": torch.zeros(5, dtype=torch.int64)},
        "not finite": sound | {"out.2.c_proj.bias": torch.full((5,), torch.inf)},
        "takes 6 channels": sound | {"input_blocks.0.0.weight": torch.zeros(32, 6, 3, 3)},
        "head.more has shape [1]": sound | {"out.2.more": torch.zeros(1)},
    }


def test_unsupported_files_are_refused_with_the_reason(tmp_path, capsys):
    for word, content in unsupported_files().items():
        save_reference(content, tmp_path)
        refused([tmp_path / FILE, *options_of(ADM)], tmp_path, capsys, FILE, word)


def test_missing_options_are_listed_in_one_line(tmp_path, capsys):
    file = save_reference(random_classifier(ADM).state_dict(), tmp_path)
    everything = ("--num-head-channels C", "--beta-schedule linear", "--num-train-timesteps T")
    message = refused([file], tmp_path, capsys, *everything)
    assert "--image-size" not in message and "--num-heads" not in message
    refused([file, "--num-heads", "4", *CHAIN], tmp_path, capsys, "needs more options: --num-head-channels C.")
    save_reference(random_classifier(replace(ADM, pool="spatial")).state_dict(), tmp_path)
    refused([file, *CHAIN], tmp_path, capsys, "--num-heads N or --num-head-channels C, --image-size S")


def test_options_must_fit_the_tensors(tmp_path, capsys):
    file, good = save_reference(random_classifier(ADM).state_dict(), tmp_path), options_of(ADM)
    wrong = {
        "only fits --num-res-blocks 2 (images of 16x16)": ["--image-size", "32"],
        "only fits --num-res-blocks 2": ["--num-res-blocks", "3"],
        "cannot be split into heads of 24": ["--num-head-channels", "24"],
        "unknown noise schedule 'bent'": ["--beta-schedule", "bent"],
        "at least 1 timestep": ["--num-train-timesteps", "0"],
    }
    for words, options in wrong.items():
        refused([file, *good, *options], tmp_path, capsys, words)
    refused([file, *good, "--image-size", "15"], tmp_path, capsys, "16x16")
    save_reference(random_classifier(replace(ADM, pool="adaptive")).state_dict(), tmp_path)
    refused([file, *good, "--image-size", "18"], tmp_path, capsys, "multiple of 4, not 18")


def test_ambiguous_levels_need_an_option(tmp_path, capsys):
    settings = replace(ADM, multipliers=(1, 1), blocks=1, attention=())
    original = random_classifier(settings)
    file = save_reference(original.state_dict(), tmp_path)
    refused(
        [file, *options_of(settings)],
        tmp_path,
        capsys,
        "2 layouts",
        "--num-res-blocks 1 (images of 16x16) or --num-res-blocks 3 (images of 8x8)",
    )
    for i, option in enumerate((["--num-res-blocks", "1"], ["--image-size", "16"])):
        (tmp_path / str(i)).mkdir()
        assert max(relative_errors(original, import_reference(original, tmp_path / str(i), *option))) < 1e-5
