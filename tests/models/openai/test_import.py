"""Import of OpenAI's U-Nets: the original's outputs, errors for unsupported files, and no code from files is run."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel

from diffusion_demo.cli import main
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.errors import BadInput
from diffusion_demo.models.adapt import fold_class_into_time_bias, with_class_embedding
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.openai.layout import Layout, read_layout
from diffusion_demo.models.openai.network import OpenAIUNet2DModel
from diffusion_demo.models.openai.options import ImportOptions
from diffusion_demo.models.openai.presets import CLASSIFIERS, DDPM, NAMES, RELEASED, named_network
from diffusion_demo.models.openai.weights import split_qkv
from tests.models.openai.reference_unet import Settings, UNet, random_unet
from tests.refusal import Runs, refused

CHAIN = ["--beta-schedule", "cosine", "--num-train-timesteps", "1000", "--image-size", "16"]
GUIDED = Settings(residual_sampling=True, out_channels=6, classes=5, head_channels=16)
PLAIN, OWN = "UNet2DModel", "OpenAIUNet2DModel"
# name: (settings of the original, class of the imported network)
CASES = {
    "guided: legacy order, 16 a head": (replace(GUIDED, multipliers=(1, 2, 2), blocks=2, attention=(2, 4)), PLAIN),
    "guided: new order": (replace(GUIDED, new_order=True, multipliers=(1, 2, 3), attention=(1, 4)), PLAIN),
    "guided: no scale-shift": (replace(GUIDED, scale_shift=False), PLAIN),
    "guided: convolutions halve and double": (replace(GUIDED, residual_sampling=False), PLAIN),
    "guided: no classes, fixed variance": (replace(GUIDED, classes=0, out_channels=3, attention=(4,)), PLAIN),
    "guided: 4 heads at three widths": (
        replace(GUIDED, multipliers=(1, 2, 3), head_channels=None, heads=4, attention=(1, 2, 4)),
        OWN,
    ),
    "guided: 4 heads, new order": (replace(GUIDED, head_channels=None, heads=4, attention=(1, 2), new_order=True), OWN),
    "guided: a first level half as wide": (replace(GUIDED, width=64, multipliers=(0.5, 1, 1)), OWN),
    "guided: three blocks, the middle alone attends": (
        replace(GUIDED, blocks=3, attention=(), multipliers=(1, 1, 2)),
        PLAIN,
    ),
    "guided: upsampler": (replace(GUIDED, in_channels=6, head_channels=None, heads=2, attention=(1, 2)), OWN),
    "guided: grayscale, one level": (
        replace(GUIDED, in_channels=1, out_channels=2, multipliers=(1,), attention=(1,)),
        PLAIN,
    ),
    "improved: 4 heads at one width": (
        Settings(multipliers=(1, 2, 2, 2), blocks=3, attention=(2, 4), heads=4, out_channels=6),
        PLAIN,
    ),
    "improved: 4 heads at two widths": (
        Settings(multipliers=(1, 2, 3), blocks=2, attention=(2, 4), heads=4, classes=3),
        OWN,
    ),
    "improved: LSUN, 1 head at two widths": (
        Settings(multipliers=(1, 1, 2), blocks=2, attention=(2, 4), scale_shift=False),
        PLAIN,
    ),
    "improved: other heads on the way up": (
        Settings(multipliers=(1, 2), attention=(1, 2), heads=4, heads_upsample=2),
        OWN,
    ),
    "improved: other heads on the way up, 1 on the way down": (
        Settings(multipliers=(1, 2), heads=1, heads_upsample=8),
        OWN,
    ),
    "improved: grayscale upsampler": (Settings(in_channels=2, out_channels=1, heads=2), PLAIN),
}


def options_of(s):
    """Return the import options of a reference network."""
    heads = (
        {"num-head-channels": s.head_channels}
        if s.head_channels
        else {"num-heads": s.heads, "num-heads-upsample": s.heads_upsample}
    )
    given = [part for name, value in heads.items() if value for part in (f"--{name}", str(value))]
    return [*given, *CHAIN, *(["--new-attention-order"] if s.new_order else [])]


def save_reference(unet, folder):
    torch.save(unet.state_dict(), folder / "ema_0.9999_500000.pt")
    return folder / "ema_0.9999_500000.pt"


def import_reference(unet, folder, *more):
    options = [*options_of(unet.settings), *more]
    assert main(["import", str(save_reference(unet, folder)), "--out", str(folder / "out"), *options]) == 0
    return load_checkpoint(folder / "out")


def relative_error(unet, network, model_time=lambda t: t, dtype=torch.float32):
    """Return the relative maximum error over noise images, several t and all classes."""
    unet, network = unet.to(dtype), network.to(dtype)
    s, t = unet.settings, torch.tensor([0, 1, 37, 500, 998, 999])
    xt = torch.randn(len(t), s.in_channels, 16, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    y = torch.arange(len(t)) % s.classes if s.classes else None
    with torch.no_grad():
        theirs = unet(xt, model_time(t), y)
        ours = network(xt, t, class_labels=y, return_dict=False)[0]
    assert theirs.shape == ours.shape and theirs.std() > 0.05
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", CASES)
def test_an_imported_network_has_the_originals_outputs(name, tmp_path):
    settings, kind = CASES[name]
    unet = random_unet(settings)
    checkpoint = import_reference(unet, tmp_path)
    error = relative_error(unet, checkpoint.unet)
    print("relative error", error)
    assert error < 1e-5
    assert relative_error(unet, checkpoint.unet, dtype=torch.float64) < 1e-12, (
        "the difference in float32 must be rounding"
    )
    assert (
        type(checkpoint.unet).__name__
        == kind
        == json.loads((tmp_path / "out/unet/config.json").read_text())["_class_name"]
    )
    parameters = sum(p.numel() for p in checkpoint.unet.parameters()) - (
        4 * settings.width if settings.classes else 0
    )  # the null class is added
    assert parameters == sum(p.numel() for p in unet.parameters())


def test_wrong_options_change_the_outputs(tmp_path):
    """The order of q, k, v and the number of heads must matter for the cases above to be meaningful."""
    unet = random_unet(CASES["guided: legacy order, 16 a head"][0])
    for i, wrong in enumerate((["--new-attention-order"], ["--num-head-channels", "8"])):
        (tmp_path / str(i)).mkdir()
        assert relative_error(unet, import_reference(unet, tmp_path / str(i), *wrong).unet) > 1e-2


def test_rescaled_timesteps_are_imported(tmp_path):
    unet = random_unet(Settings(heads=2))
    more = [
        "--rescale-timesteps",
        "--num-train-timesteps",
        "4000",
        "--variance-type",
        "fixed_small",
        "--prediction-type",
        "sample",
    ]
    checkpoint = import_reference(unet, tmp_path, *more)
    assert relative_error(unet, checkpoint.unet, model_time=lambda t: t * (1000 / 4000)) < 1e-5
    assert relative_error(unet, checkpoint.unet) > 1e-3
    chain = checkpoint.diffusion
    assert torch.equal(chain.betas, named_betas("squaredcos_cap_v2", 4000))
    assert (chain.variance_type, chain.prediction_type, chain.time_scale) == ("fixed_small", "sample", 1)


def test_the_folder_has_metadata_and_a_model_card(tmp_path):
    checkpoint = import_reference(random_unet(GUIDED), tmp_path)
    metadata = load_metadata(tmp_path / "out")
    assert (
        metadata == checkpoint.description
        and metadata.class_names == ("0", "1", "2", "3", "4")
        and not metadata.guidance
    )
    assert (metadata.image_size, metadata.channels, metadata.num_train_timesteps) == (16, 3, 1000)
    assert metadata.origin == "imported from ema_0.9999_500000.pt" and "--beta-schedule cosine" in metadata.command
    assert checkpoint.diffusion.variance_type == "learned_range" and torch.equal(
        checkpoint.diffusion.betas, named_betas("squaredcos_cap_v2", 1000)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ema_0.9999_500000.pt", "out"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        "- Origin: imported from ema_0.9999_500000.pt" in card
        and "16x16, color" in card
        and "`diffusers.UNet2DModel`, 0." in card
    )
    assert "averaged" not in card and "Trained on" not in card


def test_class_names_are_read_from_a_file(tmp_path, capsys):
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\n\ndog\nemu\n", encoding="utf-8-sig")
    checkpoint = import_reference(random_unet(GUIDED), tmp_path, "--class-names", str(tmp_path / "names.txt"))
    assert checkpoint.description.class_names == ("ant", "bee", "cat", "dog", "emu")  # without the byte order mark
    for text, words in (
        ("ant\nbee\n", "has 5 classes, but 2 names"),
        ("a\nb\nc\nd\na\n", "two classes called a"),
        ("\udcff", "as text"),
    ):
        (tmp_path / "names.txt").write_text(text, errors="surrogateescape")
        refused(
            [str(tmp_path / "ema_0.9999_500000.pt"), *options_of(GUIDED), "--class-names", str(tmp_path / "names.txt")],
            tmp_path,
            capsys,
            words,
        )


def test_a_folder_that_cannot_be_written_is_reported_in_one_sentence(tmp_path, capsys):
    file = save_reference(random_unet(GUIDED), tmp_path)
    assert main(["import", str(file), "--out", str(file / "out"), *options_of(GUIDED)]) == 2
    assert "Cannot write to" in capsys.readouterr().err


def test_an_imported_network_can_be_sampled_and_adapted(tmp_path):
    settings = CASES["guided: 4 heads at three widths"][0]
    unet = random_unet(settings)
    checkpoint = import_reference(unet, tmp_path)
    command = [
        "sample",
        "--checkpoint",
        str(tmp_path / "out"),
        "--num-images",
        "1",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "images"),
    ]
    assert main(command) == 0 and (tmp_path / "images" / "seed_00000000.png").is_file()
    assert isinstance(checkpoint.unet, OpenAIUNet2DModel)
    table = checkpoint.unet.state_dict()["class_embedding.weight"]
    more = with_class_embedding(checkpoint.unet, torch.cat([table, table])).eval()
    assert isinstance(more, OpenAIUNet2DModel) and relative_error(unet, more) < 1e-5
    x, t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([3])
    with torch.no_grad():
        bare = fold_class_into_time_bias(checkpoint.unet, table[2]).eval()(x, t).sample
        torch.testing.assert_close(bare, unet(x, t, torch.tensor([2])), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["guided: 4 heads at three widths", "guided: a first level half as wide"])
def test_stock_diffusers_rejects_a_network_that_it_would_misread(name, tmp_path):
    import_reference(random_unet(CASES[name][0]), tmp_path)
    with pytest.raises(ValueError, match="OpenAI"):
        UNet2DModel.from_pretrained(tmp_path / "out" / "unet", low_cpu_mem_usage=False)
    assert "`OpenAIUNet2DModel`, which stock diffusers cannot open" in (tmp_path / "out" / "README.md").read_text()
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["unet"] == ["diffusion_demo.models.openai.network", OWN]


def test_stock_diffusers_loads_a_network_that_it_supports(tmp_path):
    checkpoint = import_reference(random_unet(replace(GUIDED, classes=0)), tmp_path)
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "out")
    assert type(pipeline.unet) is UNet2DModel and pipeline.scheduler.config.variance_type == "learned_range"
    assert (
        relative_error(random_unet(replace(GUIDED, classes=0)), pipeline.unet.eval()) < 1e-5
        and checkpoint.diffusion.learns_variance
    )


def test_an_upsampler_is_imported_but_needs_an_image_to_sample(tmp_path, capsys):
    import_reference(random_unet(CASES["guided: upsampler"][0]), tmp_path)
    assert (
        load_metadata(tmp_path / "out").task == "upsampler"
        and "# An upsampler" in (tmp_path / "out" / "README.md").read_text()
    )
    assert (
        main(
            [
                "sample",
                "--checkpoint",
                str(tmp_path / "out"),
                "--num-images",
                "1",
                "--steps",
                "2",
                "--out",
                str(tmp_path / "images"),
            ]
        )
        == 2
    )
    assert "upsampler" in capsys.readouterr().err


def test_the_size_that_an_upsampler_enlarges_is_told_by_the_option_or_by_the_released_layout(tmp_path, capsys):
    upsampler = random_unet(CASES["guided: upsampler"][0])
    assert import_reference(upsampler, tmp_path).description.small_size is None
    (tmp_path / "told").mkdir()
    assert import_reference(upsampler, tmp_path / "told", "--small-size", "4").description.small_size == 4
    for unet, size in ((upsampler, "16"), (upsampler, "0"), (random_unet(Settings()), "4")):
        (folder := tmp_path / f"{size}-{unet.settings.in_channels}").mkdir()
        options = [*options_of(unet.settings), "--small-size", size]
        assert main(["import", str(save_reference(unet, folder)), "--out", str(folder / "out"), *options]) == 2
        assert "--small-size" in capsys.readouterr().err.splitlines()[-1]
    for name, released in RELEASED.items():
        assert isinstance(released.layout, Layout)
        known = {"iddpm-64-256-upsampler": 64, "adm-64-256-upsampler": 64, "adm-128-512-upsampler": 128}.get(name)
        assert ImportOptions(image_size=released.image_size).small_size_or_released(released.layout) == known
        assert ImportOptions(image_size=64 * 64).small_size_or_released(released.layout) is None


def test_half_precision_and_the_old_file_format_are_read(tmp_path):
    unet = random_unet(Settings()).half().float()
    file = tmp_path / "model.pt"
    torch.save(
        {name: tensor.half() for name, tensor in unet.state_dict().items()}, file, _use_new_zipfile_serialization=False
    )
    assert main(["import", str(file), "--out", str(tmp_path / "out"), *options_of(unet.settings)]) == 0
    assert relative_error(unet, load_checkpoint(tmp_path / "out").unet) < 1e-5


def test_q_k_and_v_are_split_in_both_orders():
    rows = torch.arange(12)  # two heads of two channels
    assert [part.tolist() for part in split_qkv(rows, 2, new_order=True)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    assert [part.tolist() for part in split_qkv(rows, 2, new_order=False)] == [
        [0, 1, 6, 7],
        [2, 3, 8, 9],
        [4, 5, 10, 11],
    ]


PUBLISHED = {
    "ddpm-32": 35_746_307,
    "ddpm-256": 113_673_219,
    "iddpm-32": 52_546_438,
    "iddpm-64": 121_063_942,
    "iddpm-64-classes": 273_049_350,
    "iddpm-64-256-upsampler": 279_792_390,
    "iddpm-256-lsun": 113_676_678,
    "adm-64": 295_904_454,
    "adm-128": 421_529_606,
    "adm-256": 553_838_086,
    "adm-256-unconditional": 552_814_086,
    "adm-512": 558_997_638,
    "adm-64-256-upsampler": 311_795_910,
    "adm-128-512-upsampler": 308_835_270,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_released_networks_have_the_published_parameters(name):
    network = named_network(name, "meta")
    assert {p.device.type for p in network.parameters()} == {"meta"}
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED[name]
    assert (type(network) is OpenAIUNet2DModel) == (
        name in ("iddpm-64", "iddpm-64-classes", "adm-128", "adm-512", "adm-64-256-upsampler")
    )


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_layouts_are_read_from_names_and_shapes(name):
    layout = RELEASED[name].layout
    assert isinstance(layout, Layout)
    settings = Settings(
        width=layout.model_channels,
        multipliers=tuple(width / layout.model_channels for width in layout.widths),
        blocks=layout.blocks,
        attention=tuple(2**level for level, attends in enumerate(layout.attention) if attends),
        in_channels=layout.in_channels,
        out_channels=layout.out_channels,
        classes=layout.classes,
        scale_shift=layout.scale_shift,
        residual_sampling=layout.resblock_updown,
    )
    with torch.device("meta"):
        tensors = UNet(settings).state_dict()
    assert read_layout(tensors) == layout
    assert sum(tensor.numel() for tensor in tensors.values()) == PUBLISHED[name]


def test_an_unknown_name_is_refused_with_the_known_ones():
    assert set(NAMES) == {*PUBLISHED, *CLASSIFIERS} and set(PUBLISHED) == {*DDPM, *RELEASED}
    with pytest.raises(BadInput, match="Choose one of ddpm-32, "):
        named_network("adm-63")


@pytest.mark.parametrize("write", ["torch.save", "pickle", "whole module"])
def test_code_in_a_pickle_is_not_run(write, tmp_path, capsys):
    file, mark = tmp_path / "model.pt", tmp_path / "mark"
    if write == "torch.save":
        torch.save(random_unet(Settings()).state_dict() | {"out.2.bias": Runs(mark)}, file)
    elif write == "pickle":
        file.write_bytes(pickle.dumps(Runs(mark), protocol=2))
    else:
        torch.save({"model": random_unet(Settings()), "more": Runs(mark)}, file)
    refused([file, *options_of(Settings())], tmp_path, capsys, "model.pt", "contains code, which was not run")
    assert not mark.exists()
    torch.load(file, weights_only=False) if write != "pickle" else pickle.loads(file.read_bytes())
    assert mark.exists(), "the pickle must run if it is allowed to"


def test_truncated_and_unrelated_files_are_refused(tmp_path, capsys):
    whole = save_reference(random_unet(Settings()), tmp_path).read_bytes()
    for content in (
        whole[: len(whole) // 2],
        whole[:100],
        b"",
        b"Not found\n" * 20,
        bytes(range(256)) * 8,
        pickle.dumps({"a": 1}, protocol=4),
    ):
        (tmp_path / "model.pt").write_bytes(content)
        refused([tmp_path / "model.pt"], tmp_path, capsys, "model.pt ")
    refused([tmp_path / "nowhere.pt"], tmp_path, capsys, "No file at")
    refused([tmp_path], tmp_path, capsys, "is a folder. Use it directly with --checkpoint")


def unsupported_files():
    """Return a part of the error message -> the content of an unsupported file."""
    sound = random_unet(Settings(residual_sampling=True)).state_dict()
    return other_formats(sound) | damaged_unets(sound)


def other_formats(sound):
    stable_diffusion = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
    return {
        "Stable Diffusion": {"state_dict": {stable_diffusion: torch.zeros(2, 2)}},
        "cross-attention": sound | {"input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(2, 2)},
        "an optimizer's state": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 1e-4}]},
        "names of diffusers": UNet2DModel(
            block_out_channels=(32,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",)
        ).state_dict(),
        "no usable tensor time_embed.0.weight": {"fc.weight": torch.zeros(3, 3), "fc.bias": torch.zeros(3)},
        "not a dictionary of named tensors": {"epoch": 3, "loss": torch.zeros(1)},
        "contains a list": [torch.zeros(3)],
        "contains a Tensor": torch.zeros(3),
        "noisy classifier": {name: tensor for name, tensor in sound.items() if not name.startswith("output_blocks")},
    }


def damaged_unets(sound):
    conv = random_unet(Settings()).state_dict()
    sparse = sound["out.2.weight"].to_sparse()
    return {
        "pools without a convolution": {name: tensor for name, tensor in conv.items() if ".op." not in name},
        "lacks the weights": {name: tensor for name, tensor in sound.items() if name != "out.0.bias"},
        "contains a tensor extra.weight": sound | {"extra.weight": torch.zeros(1)},
        "is inconsistent": sound | {"out.2.bias": torch.zeros(4)},
        "class_embedding.weight": sound | {"label_emb.weight": torch.tensor(1.0)},
        "unsupported format (torch.int64": sound | {"out.2.bias": torch.zeros(3, dtype=torch.int64)},
        "unsupported format (torch.float32, torch.sparse_coo": sound | {"out.2.weight": sparse},
        "unsupported format": sound | {"out.2.bias": torch.zeros(3, device="meta")},
        "not finite": sound | {"out.2.bias": torch.full((3,), torch.nan)},
        "has 4 input and 3 output channels": sound | {"input_blocks.0.0.weight": torch.zeros(32, 4, 3, 3)},
        "not multiples of 32": sound | {"input_blocks.1.0.out_layers.3.weight": torch.zeros(40, 40, 3, 3)},
        "halve and double": {name: tensor for name, tensor in sound.items() if not name.startswith("output_blocks.3")},
        "no usable tensor input_blocks.1.0.in_layers.2": {
            name: t for name, t in sound.items() if name != "input_blocks.1.0.in_layers.2.weight"
        },
    }


def test_unsupported_files_are_refused_with_the_reason(tmp_path, capsys):
    for word, content in unsupported_files().items():
        torch.save(content, tmp_path / "model.pt")
        refused([tmp_path / "model.pt", *options_of(Settings())], tmp_path, capsys, "model.pt ", word)


def test_missing_options_are_listed_in_one_line(tmp_path, capsys):
    file = save_reference(random_unet(GUIDED), tmp_path)
    everything = (
        "--num-heads N or --num-head-channels C",
        "--beta-schedule linear",
        "--num-train-timesteps T",
        "--image-size S",
    )
    refused([file], tmp_path, capsys, *everything)
    assert "--image-size" not in refused([file, "--image-size", "16"], tmp_path, capsys, *everything[:3])
    message = refused([file, *CHAIN], tmp_path, capsys, everything[0])
    assert "schedule" not in message


def test_options_must_fit_the_tensors(tmp_path, capsys):
    file, good = save_reference(random_unet(GUIDED), tmp_path), options_of(GUIDED)
    wrong = {
        "cannot be split into heads of 24": ["--num-head-channels", "24"],
        "cannot be split into heads of -1": ["--num-head-channels", "-1"],
        "multiple of 2, not 15": ["--image-size", "15"],
        "multiple of 2, not 0": ["--image-size", "0"],
        "unknown noise schedule 'bent'": ["--beta-schedule", "bent"],
        "at least 1 timestep": ["--num-train-timesteps", "0"],
        "more than 20 timesteps": ["--beta-schedule", "linear", "--num-train-timesteps", "20"],
        "fixed_large or fixed_small": ["--variance-type", "none"],
        "epsilon or sample": ["--prediction-type", "v"],
    }
    for words, options in wrong.items():
        refused([file, *good, *options], tmp_path, capsys, words)
    refused([file, *CHAIN, "--num-heads", "5"], tmp_path, capsys, "cannot be split into 5 heads")
    (tmp_path / "there").mkdir()
    assert (
        main(["import", str(file), "--out", str(tmp_path / "there"), *good]) == 2
        and "already exists" in capsys.readouterr().err
    )


def test_a_released_network_is_recognized_by_its_layout(tmp_path, capsys):
    with torch.device("meta"):
        save_reference(
            UNet(Settings(192, (1, 2, 3, 4), 3, (2, 4, 8), 3, 6, 1000, head_channels=64, residual_sampling=True)),
            tmp_path,
        )
    options = (
        "--num-head-channels 64 --new-attention-order --beta-schedule squaredcos_cap_v2 --num-train-timesteps 1000 "
        "--image-size 64"
    )
    words = f"The released adm-64 has these sizes and uses {options}"
    refused([tmp_path / "ema_0.9999_500000.pt"], tmp_path, capsys, words)
    assert RELEASED["adm-64"].options == options
    assert "--num-heads 4 --rescale-timesteps" in RELEASED["iddpm-64"].options


def wrapped(tensors, other):
    """The ways in which people save a network: name -> (content of the file, name of the network to choose)."""

    def prefixed(prefix, weights=tensors):
        return {f"{prefix}{name}": tensor for name, tensor in weights.items()}

    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]}
    return {
        "DistributedDataParallel": (prefixed("module."), None),
        "torch.compile": (prefixed("_orig_mod."), None),
        "both": (prefixed("_orig_mod.module."), None),
        "a larger module": (prefixed("model."), None),
        "state_dict": ({"state_dict": prefixed("module."), "epoch": 3}, None),
        "model with an optimizer": ({"model": tensors, "optimizer": optimizer, "step": 12}, None),
        "two inside one": ({"model": other, "ema": tensors}, "ema"),
        "two prefixes in a state_dict": (
            {"state_dict": prefixed("model.", other) | prefixed("ema_model.")},
            "state_dict.ema_model",
        ),
        "two a level deeper": ({"weights": {"raw": prefixed("module.", other), "ema": tensors}}, "weights.ema"),
    }


@pytest.mark.parametrize("name", wrapped({}, {}))
def test_a_network_is_found_in_wrappers_and_under_prefixes_and_which_of_several_is_asked(name, tmp_path, capsys):
    settings = CASES["guided: no classes, fixed variance"][0]
    network = random_unet(settings)
    tensors, other = network.state_dict(), {key: value + 1 for key, value in network.state_dict().items()}
    content, choice = wrapped(tensors, other)[name]
    torch.save(tensors, tmp_path / "plain.pt")
    torch.save(content, tmp_path / "wrapped.pt")
    options = [*CHAIN, *options_of(settings)]
    if choice:
        message = refused([tmp_path / "wrapped.pt", *options], tmp_path, capsys, "2 networks", f"--weights {choice}")
        assert "EMA" in message
        options += ["--weights", choice]
    assert main(["import", str(tmp_path / "wrapped.pt"), "--out", str(tmp_path / "out"), *options]) == 0
    assert (
        main(["import", str(tmp_path / "plain.pt"), "--out", str(tmp_path / "plain"), *CHAIN, *options_of(settings)])
        == 0
    )
    assert load_checkpoint(tmp_path / "out").weights == load_checkpoint(tmp_path / "plain").weights


AVERAGES = {
    "a list": lambda tensors: {"ema": list(tensors.values())},
    "shadow_params": lambda tensors: {"ema": {"shadow_params": list(tensors.values()), "decay": 0.999}},
    "other names": lambda tensors: {"ema_shadow": {name.replace(".", "_"): t for name, t in tensors.items()}},
    "a level deeper": lambda tensors: {"extra": {"Averaged": list(tensors.values())}},
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_in_a_form_that_is_not_supported_are_said(name, tmp_path, capsys):
    settings = CASES["guided: no classes, fixed variance"][0]
    tensors = random_unet(settings).state_dict()
    torch.save({"model": tensors, "ema_decay": 0.99} | AVERAGES[name](tensors), tmp_path / "x.pt")
    options = [tmp_path / "x.pt", *CHAIN, *options_of(settings)]
    refused(options, tmp_path, capsys, "holds averaged (EMA) weights in ", "--weights model")
    line = ["import", *map(str, options), "--out", str(tmp_path / "out"), "--weights", "model"]
    assert main(line) == 0


def test_a_choice_of_weights_that_is_not_in_the_file_is_refused_with_those_that_are(tmp_path, capsys):
    settings = CASES["guided: no classes, fixed variance"][0]
    torch.save({"a": random_unet(settings).state_dict(), "b": random_unet(settings).state_dict()}, tmp_path / "x.pt")
    refused([tmp_path / "x.pt", *CHAIN, *options_of(settings), "--weights", "c"], tmp_path, capsys, "'c'", "a, b")
