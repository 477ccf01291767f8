"""Other people's models: folders that diffusers writes and names on the Hub, read and sampled as diffusers does, or refused in one sentence."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from diffusers import AutoencoderKL, DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DConditionModel, UNet2DModel
from safetensors.torch import load_file, save_file

from diffusion_demo.cli import main
from diffusion_demo.errors import BadInput
from diffusion_demo.images import read_settings
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.description import FILE, checkpoint_name, describe
from diffusion_demo.request import Request
from diffusion_demo.sampling import sample

NAME, COMMIT = "somebody/tiny-ddpm", "0123456789abcdef0123456789abcdef01234567"


def ho_network(**settings):
    """google/ddpm-cifar10-32's settings at a tiny width, with random weights."""
    torch.manual_seed(0)
    shape = {"block_out_channels": (32, 64), "layers_per_block": 1, "sample_size": 16}
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    ho = {"downsample_padding": 0, "freq_shift": 1, "flip_sin_to_cos": False, "norm_eps": 1e-6, "attention_head_dim": None}
    return UNet2DModel(**shape | blocks | ho | settings)


def ho_scheduler(**settings):
    return DDPMScheduler(**{"variance_type": "fixed_large", "num_train_timesteps": 100} | settings)


@pytest.fixture(scope="module")
def ddpm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "ddpm"
    DDPMPipeline(unet=ho_network(), scheduler=ho_scheduler()).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(ddpm, tmp_path):
    shutil.copytree(ddpm, tmp_path / "ddpm")
    return tmp_path / "ddpm"


def at_the_root(folder):
    """The older layout: config and weights beside model_index.json, attention named as it was."""
    for part in ("unet", "scheduler"):
        for file in (folder / part).iterdir():
            file.rename(folder / file.name)
        (folder / part).rmdir()
    weights = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    save_file(tensors, weights, metadata={"format": "pt"})


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def diffusers_way(folder, scheduler, seeds, **options):
    """x after every step of a diffusers scheduler, with the noise of our seeds."""
    unet = UNet2DModel.from_pretrained(folder / "unet").eval()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = torch.stack([torch.randn((3, 16, 16), generator=g) for g in generators])
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x, generator=generators, **options).prev_sample
            yield x


@pytest.mark.parametrize(("num_timesteps", "count", "steps"), [(100, 100, 100), (1000, 25, "ddim25")])
def test_a_ddpm_pipeline_is_sampled_step_by_step_as_its_own_scheduler_does(ddpm, tmp_path, num_timesteps, count, steps):
    shutil.copytree(ddpm, tmp_path / "ddpm")
    scheduler = ho_scheduler(num_train_timesteps=num_timesteps)
    scheduler.save_pretrained(tmp_path / "ddpm" / "scheduler")
    scheduler.set_timesteps(count)
    checkpoint = load_checkpoint(tmp_path / "ddpm")
    assert checkpoint.description.num_train_timesteps == num_timesteps and checkpoint.diffusion.variance_type == "fixed_large"
    ours = list(sample(checkpoint, Request(num_images=2, sampler="ddpm", steps=steps, seed=7, precision="fp32")))
    theirs = list(diffusers_way(ddpm, scheduler, (7, 8)))
    assert [step.t for step in ours] == scheduler.timesteps.tolist() and len(ours) == count
    for step, x in zip(ours, theirs, strict=True):
        torch.testing.assert_close(step.xt, x, rtol=0, atol=1e-4)
    assert theirs[-1].std() > 0.1


def test_a_ddim_pipeline_is_sampled_as_its_own_scheduler_does_and_its_variance_is_the_small_one(tmp_path):
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    DDIMPipeline(unet=ho_network(), scheduler=scheduler).save_pretrained(tmp_path / "ddim")
    scheduler.set_timesteps(20)
    checkpoint = load_checkpoint(tmp_path / "ddim")
    assert (checkpoint.diffusion.prediction_type, checkpoint.diffusion.variance_type) == ("v_prediction", "fixed_small")
    ours = sample(checkpoint, Request(num_images=2, sampler="ddim", steps="ddim20", seed=3, precision="fp32"))
    for step, x in zip(ours, diffusers_way(tmp_path / "ddim", scheduler, (3, 4), use_clipped_model_output=True), strict=True):
        torch.testing.assert_close(step.xt, x, rtol=0, atol=1e-4)


def test_a_ddim_scheduler_made_from_one_that_learned_its_variance_keeps_it(tmp_path):
    scheduler = DDIMScheduler.from_config(ho_scheduler(variance_type="learned_range").config)
    DDIMPipeline(unet=ho_network(out_channels=6), scheduler=scheduler).save_pretrained(tmp_path / "ddim")
    assert load_checkpoint(tmp_path / "ddim").diffusion.variance_type == "learned_range"


def test_a_diffusers_folder_says_what_it_is(ddpm):
    description = describe(ddpm)
    assert (description.image_size, description.channels, description.num_train_timesteps) == (16, 3, 100)
    assert description.class_names == () and not description.guidance and description.images_seen == 0


@pytest.mark.parametrize("beside", [True, False], ids=["with model_index.json", "without"])
def test_the_older_layout_is_the_same_model(ddpm, copy, beside):
    at_the_root(copy)
    if not beside:
        (copy / "model_index.json").unlink()
    x, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 90])
    new, old = load_checkpoint(ddpm), load_checkpoint(copy)
    assert torch.equal(new.diffusion.betas, old.diffusion.betas) and old.description == new.description
    with torch.no_grad():
        assert torch.equal(old.unet(x, t).sample, new.unet(x, t).sample)


def test_the_scheduler_may_lie_in_its_folder_while_the_network_lies_at_the_root(copy):
    for file in (copy / "unet").iterdir():
        file.rename(copy / file.name)
    (copy / "model_index.json").unlink()
    (copy / "unet").rmdir()
    assert describe(copy).num_train_timesteps == 100 and load_checkpoint(copy).diffusion.variance_type == "fixed_large"


def test_classes_without_names_go_by_number_and_the_null_class_is_their_mean(tmp_path):
    network = ho_network(num_class_embeds=12).eval()
    DDPMPipeline(unet=network, scheduler=ho_scheduler()).save_pretrained(tmp_path / "classes")
    checkpoint = load_checkpoint(tmp_path / "classes")
    description, table = checkpoint.description, checkpoint.unet.class_embedding.weight
    assert description.class_names == tuple(map(str, range(12))) and not description.guidance and description.null_class == 12
    assert torch.equal(table[:12], network.class_embedding.weight)
    torch.testing.assert_close(table[12], network.class_embedding.weight.mean(0))
    x, t, y = torch.randn(2, 3, 16, 16), torch.tensor([3, 90]), torch.tensor([0, 11])
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.unet(x, t, class_labels=y).sample, network(x, t, class_labels=y).sample, rtol=0, atol=1e-5)
    with pytest.raises(BadInput, match="null class"):
        Request(guidance_scale=2.0).check(description)


def test_a_square_may_be_said_as_a_pair(copy):
    edit(copy / "unet" / "config.json", sample_size=[16, 16])
    assert describe(copy).image_size == 16


def refusal(checkpoint, name=None):
    with pytest.raises(BadInput) as caught:
        load_checkpoint(checkpoint)
    message = str(caught.value)
    assert (name or Path(checkpoint).name) in message
    assert "\n" not in message and message.endswith(".") and len(message.replace(str(checkpoint), "FOLDER")) < 260, message
    return message


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("unet/config.json", {"sample_size": None}, "sample_size null"),
        ("unet/config.json", {"sample_size": [16, 32]}, r"sample_size \[16, 32\].*square"),
        ("unet/config.json", {"sample_size": {}}, "configs of.*cannot be read"),
        ("unet/config.json", {"num_class_embeds": "ten"}, "configs of.*cannot be read"),
        ("unet/config.json", {"in_channels": 4, "out_channels": 4}, "4 channels"),
        ("unet/config.json", {"out_channels": 6}, "answers 6 channels to 3.*fixed_large it must be 3"),
        ("unet/config.json", {"time_embedding_type": "fourier"}, "fourier"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "labels as timestep"),
        ("unet/config.json", {"block_out_channels": [32, 96]}, "damaged"),
        ("unet/config.json", {"num_class_embeds": 3}, "damaged"),
        ("unet/config.json", {"_class_name": "UNet1DModel"}, "holds a UNet1DModel.*UNet2DModel"),
        ("scheduler/scheduler_config.json", {"_class_name": "ScoreSdeVeScheduler"}, "ScoreSdeVeScheduler.*DDPMScheduler"),
        ("scheduler/scheduler_config.json", {"variance_type": "learned_range"}, "answers 3 channels to 3.*learned_range it must be 6"),
        ("model_index.json", {"_class_name": "LDMPipeline", "vqvae": ["diffusers", "VQModel"]}, "holds a LDMPipeline.*on pixels"),
    ],
)
def test_a_model_of_another_kind_is_refused_by_what_it_is(copy, file, changes, words):
    edit(copy / file, **changes)
    assert re.search(words, refusal(copy))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"beta_schedule": "laplace"}, "laplace"),
        ({"prediction_type": "flow_prediction"}, "flow_prediction"),
        ({"variance_type": "learned"}, "'learned'"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
    ],
)
def test_a_chain_that_cannot_be_read_exactly_is_refused(copy, changes, words):
    edit(copy / "scheduler" / "scheduler_config.json", **changes)
    with pytest.raises(BadInput, match=words):
        load_checkpoint(copy)


def test_models_that_are_no_unet2dmodel_are_refused_by_name(tmp_path):
    tiny = {"block_out_channels": (32,), "norm_num_groups": 32}
    UNet2DConditionModel(down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), **tiny).save_config(tmp_path / "stable" / "unet")
    DDPMScheduler().save_pretrained(tmp_path / "stable" / "scheduler")
    assert "holds a UNet2DConditionModel" in refusal(tmp_path / "stable")
    parts = {"vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [None, None]}
    (tmp_path / "stable" / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **parts}))
    assert "holds a StableDiffusionPipeline" in refusal(tmp_path / "stable")
    AutoencoderKL(**tiny).save_config(tmp_path / "vae")
    assert "holds a AutoencoderKL" in refusal(tmp_path / "vae")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text(json.dumps({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}))
    assert "holds a GPT2LMHeadModel" in refusal(tmp_path / "text")


def test_a_model_without_a_scheduler_is_refused(copy):
    assert "no scheduler_config.json" in refusal(copy / "unet")


def test_a_folder_with_some_other_config_is_no_checkpoint(tmp_path):
    (tmp_path / "config.json").write_text('{"config": {}, "data": {}}')
    assert "no checkpoint" in refusal(tmp_path)


def test_weights_that_lack_a_tensor_are_refused_rather_than_made_up(copy):
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["conv_in.bias"]
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "damaged" in refusal(copy)


def test_pickled_weights_are_refused_and_the_command_that_is_named_converts_them(ddpm, copy):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    UNet2DModel.from_pretrained(ddpm / "unet").save_pretrained(copy / "unet", safe_serialization=False)
    assert [path.suffix for path in sorted((copy / "unet").glob("*model*"))] == [".bin"]
    message = refusal(copy)
    assert "pickled" in message
    exec(re.search(r'python -c "(.*)"', message)[1], {})
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([50])
    with torch.no_grad():
        assert torch.equal(load_checkpoint(copy).unet(x, t).sample, load_checkpoint(ddpm).unet(x, t).sample)


# names on the Hub, of which this machine needs none: its cache, and a Hub of our own


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def put_into(cache, folder):
    """A snapshot in the cache as huggingface_hub lays it out."""
    home = cache / f"models--{NAME.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, home / "snapshots" / COMMIT)
    return home / "snapshots" / COMMIT


@pytest.mark.parametrize("older", [False, True])
def test_a_name_on_the_hub_is_read_from_the_cache_without_a_network(ddpm, copy, cache, older):
    if older:
        at_the_root(copy)
    put_into(cache, copy)
    found = load_checkpoint(NAME)
    assert found.description == describe(ddpm) == describe(Path(NAME)) and checkpoint_name(NAME) == NAME
    assert torch.equal(found.unet.conv_in.weight, load_checkpoint(ddpm).unet.conv_in.weight)


def test_a_folder_of_that_name_comes_before_the_hub(random_checkpoint, ddpm, cache, tmp_path):
    put_into(cache, ddpm)
    shutil.copytree(random_checkpoint, tmp_path / NAME)
    assert describe(NAME).class_names == ("one", "three", "two")


def test_sample_takes_a_name_on_the_hub(ddpm, cache, capsys):
    put_into(cache, ddpm)
    assert main(["sample", "--checkpoint", NAME, "--num-images", "2", "--steps", "3", "--precision", "fp32", "--out", "out"]) == 0
    capsys.readouterr()
    assert read_settings(Path("out") / "seed_00000001.png")["checkpoint"] == NAME


def test_evaluate_takes_a_diffusers_folder(ddpm, digits, capsys):
    words = ["--checkpoint", str(ddpm), "--data", str(digits), "--metrics", "nll", "--steps", "3", "--json"]
    assert main(["evaluate", *words]) == 0
    assert json.loads(capsys.readouterr().out)["nll"]["bits_per_dim"] > 0


def test_what_is_neither_here_nor_in_the_cache_is_said_so(cache):
    assert "no folder" in refusal(NAME, NAME) and "network" in refusal(NAME, NAME)


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "some--body/x", "./x.git", "/somebody/x"])
def test_what_cannot_be_a_name_on_the_hub_is_only_looked_for_here(cache, name):
    assert refusal(name) == f"There is no checkpoint folder {name}."


def test_a_cache_with_half_a_model_is_said_so(ddpm, copy, cache):
    shutil.rmtree(copy / "unet")
    (copy / "unet").mkdir()
    shutil.copy(ddpm / "unet" / "config.json", copy / "unet")
    put_into(cache, copy)
    message = refusal(NAME, NAME)
    assert "diffusion_pytorch_model.safetensors" in message and "DiffusionPipeline" in message


def test_pickled_weights_of_the_hub_are_refused_and_the_command_that_is_named_converts_them(ddpm, copy, cache):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    UNet2DModel.from_pretrained(ddpm / "unet").save_pretrained(copy / "unet", safe_serialization=False)
    put_into(cache, copy)
    exec(re.search(r'python -c "(.*)"', refusal(NAME, NAME))[1], {})
    assert torch.equal(load_checkpoint("tiny-ddpm").unet.conv_in.weight, load_checkpoint(ddpm).unet.conv_in.weight)


def test_a_checkpoint_of_ours_on_the_hub_keeps_its_description(random_checkpoint, cache):
    put_into(cache, random_checkpoint)
    assert (random_checkpoint / FILE).exists() and load_checkpoint(NAME).description == describe(random_checkpoint)


@contextmanager
def a_hub_of(models):
    """A Hub of our own with these folders under their names, and one model, gated/model, that is not for all: its address, and what was fetched."""
    fetched = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.answer()

        def log_message(self, *words):
            pass

        def answer(self):
            path = self.path.partition("?")[0].removeprefix("/").removeprefix("api/models/")
            name, rest = "/".join(path.split("/")[:2]), path.split("/")[2:]
            if name.startswith("gated"):
                return self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
            if name not in models:
                return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            if rest[:1] == ["tree"]:
                files = sorted(file for file in models[name].rglob("*") if file.is_file())
                return self.send(200, json.dumps([self.entry(file, models[name]) for file in files]).encode())
            if rest[:1] == ["resolve"]:
                data, file = (models[name] / "/".join(rest[2:])).read_bytes(), "/".join(rest[2:])
                if self.command == "GET":
                    fetched.append(file)
                return self.send(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{self.oid(data)}"'})
            return self.send(200, json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode())

        def entry(self, file, root):
            data = file.read_bytes()
            return {"type": "file", "path": file.relative_to(root).as_posix(), "size": len(data), "oid": self.oid(data)}

        def oid(self, data):
            return hashlib.sha1(data).hexdigest()

        def send(self, status, data, headers=None):
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), "Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", fetched
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def at_the_hub(environment, tmp_path):
    """Run Python as a process of its own that takes `address` for the Hub."""

    def run(address, *arguments):
        online = environment | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": ""}
        return subprocess.run([sys.executable, *map(str, arguments)], cwd=tmp_path, env=online, capture_output=True, text=True, timeout=120)

    return run


def test_of_a_model_on_the_hub_only_what_is_read_is_fetched_and_then_no_network_is_needed(ddpm, at_the_hub, tmp_path):
    shutil.copytree(ddpm, tmp_path / "both")
    for file in ("unet/diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors", "README.md", "results.json"):
        (tmp_path / "both" / file).write_text("not to be fetched")
    words = ["-m", "diffusion_demo", "sample", "--checkpoint", NAME, "--num-images", 1, "--steps", 2, "--out"]
    with a_hub_of({NAME: tmp_path / "both"}) as (address, fetched):
        done = at_the_hub(address, *words, "first")
        assert done.returncode == 0, done.stderr
    parts = {"model_index.json", "unet/config.json", "scheduler/scheduler_config.json", "unet/diffusion_pytorch_model.safetensors"}
    assert sorted(fetched) == sorted(parts)
    done = at_the_hub(address, *words, "second")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "first" / "seed_00000000.png").read_bytes() == (tmp_path / "second" / "seed_00000000.png").read_bytes()


DESCRIBE = """
import sys
from diffusion_demo.errors import BadInput
from diffusion_demo.models.description import describe
for name in sys.argv[1:]:
    try:
        describe(name)
    except BadInput as error:
        print(error)
"""


def test_what_the_hub_does_not_give_is_refused_each_in_its_sentence(at_the_hub, tmp_path):
    (tmp_path / "stable" / "unet").mkdir(parents=True)
    parts = {"vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DConditionModel"]}
    (tmp_path / "stable" / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **parts}))
    (tmp_path / "stable" / "unet" / "diffusion_pytorch_model.safetensors").write_text("gigabytes")
    with a_hub_of({"some/stable": tmp_path / "stable"}) as (address, fetched):
        done = at_the_hub(address, "-c", DESCRIBE, "some/stable", "some/nothing", "gated/model")
    stable, nothing, gated = done.stdout.splitlines()
    assert stable.startswith("some/stable holds a StableDiffusionPipeline") and fetched == ["model_index.json"]
    assert nothing == "There is no folder some/nothing here, and no public model of that name on the Hub."
    assert "gated/model" in gated and "terms" in gated
    silent = at_the_hub(address, "-c", DESCRIBE, "some/nothing")
    assert "cannot be reached" in silent.stdout and silent.stdout.count("\n") == 1, silent
