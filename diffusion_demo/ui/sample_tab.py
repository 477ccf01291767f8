"""The Sample tab: choose, generate, watch, scrub, keep."""

import random
import tempfile
import time
import zipfile
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.models.description import Description, describe
from diffusion_demo.ui import showcase, warmup
from diffusion_demo.ui.choices import folder_of, models, titles

HERE = Path(__file__).parent
SHOWS = {
    "ddpm": "sampler",
    "ddim": "sampler",
    "dpm_solver": "sampler",
    "p": "what the network expects",
    "spaced_timesteps": "steps",
    "log_snr_timesteps": "steps",
    "respaced": "steps",
    "classifier_free": "guidance",
    "gaussian": "model",
    "mixture": "model",
    "finite_set": "model",
    "pixels": "model",
}
MIXED = "mixed"
SAMPLERS = [("DPM-Solver++", "dpm_solver"), ("DDIM", "ddim"), ("DDPM", "ddpm")]
MAX_IMAGES = 64
MAX_SEED = 2**31 - 1
DICE_SIDES = 1_000_000
SECONDS_BETWEEN_FRAMES = 0.12
STARTED, STOPPED = (
    f"() => {{ const s = document.querySelector('#stage .stage'); s.dispatchEvent(new Event('{event}', {{bubbles: true}}));"
    " s.scrollIntoView({block: 'nearest'}) }"
    for event in ("run-started", "run-stopped")
)


def build(page: gr.Blocks) -> list[gr.components.Component]:
    """Lay out the tab and wire it. Returns the model's dropdown, the class's, and the guidance: what changes when another tab opens a model."""
    listed = models()
    names = list(listed)
    first, finished = describe(listed[names[0]]), showcase.read(listed[names[0]])
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            model = gr.Dropdown(titles(), value=names[0], label="Model", interactive=True)
            label = gr.Dropdown(_class_choices(first), value=MIXED, label="Class", interactive=True)
            count = gr.Slider(1, MAX_IMAGES, 16, step=1, precision=0, label="Images", buttons=[], interactive=True)
            steps = gr.Slider(1, 1000, 12, step=1, precision=0, label="Steps", info="More is finer and slower.", buttons=[], interactive=True)
            guidance = gr.Slider(0, 8, 2.0, step=0.1, label="Guidance", info="1 is off. More sticks to the class.", buttons=[], interactive=True)
            with gr.Group():
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, interactive=True)
                fresh = gr.Checkbox(True, label="New seed every time", interactive=True)
                with gr.Row(elem_id="seed-row"):
                    dice = gr.Button("Random seed", size="sm", min_width=80)
                    reuse = gr.Button("Reuse last", size="sm", min_width=80)
            with gr.Row():
                generate = gr.Button("Loading …", variant="primary", interactive=False, scale=3, min_width=120, elem_id="generate")
                stop = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=80, elem_id="stop")
            with gr.Accordion("More settings", open=False):
                sampler = gr.Radio(
                    SAMPLERS,
                    value="dpm_solver",
                    label="Sampler",
                    info="DPM-Solver++ is best at 8 to 20 steps, DDIM from 25. DDPM is the papers' own, for 100 and more.",
                    interactive=True,
                )
                eta = gr.Slider(0, 1, 0, step=0.05, label="Eta", info="Fresh noise in each DDIM step.", buttons=[], interactive=True)
            restore = gr.File(label="Settings from a picture made here", file_types=[".png"], height=160, elem_id="restore")
        with gr.Column(scale=5, min_width=320, elem_classes="results"):
            stage = gr.HTML(
                finished.film,
                html_template=(HERE / "stage.html").read_text(encoding="utf-8"),
                js_on_load=(HERE / "stage.js").read_text(encoding="utf-8"),
                elem_id="stage",
            )
            gallery = gr.Gallery(
                finished.files,
                label="Finished pictures",
                columns=8,
                object_fit="contain",
                format="png",
                buttons=["download", "fullscreen"],
                interactive=False,
                elem_id="gallery",
            )
            archive = gr.DownloadButton("Download all as zip", visible=False, size="sm", elem_id="zip")
    last_seed = gr.State(0)
    settings = [model, label, count, sampler, steps, guidance, eta, seed]
    buttons = [generate, stop]

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    at_once, beside_others = quiet | {"queue": False}, quiet | {"concurrency_limit": None}
    page.load(_ready, None, generate, **beside_others)
    page.load(_refresh_models, model, model, **beside_others)
    model.input(show_classes, [model, label], [label, guidance], **at_once)
    dice.click(_random_seed, None, seed, **at_once)
    reuse.click(lambda last: (last, False), last_seed, [seed, fresh], **at_once)
    restore.upload(_restore, restore, [*settings, fresh, restore], **beside_others)
    generate.click(None, None, None, js=STARTED)
    run = generate.click(_begin, [fresh, seed], [seed, *buttons], **at_once).then(
        _generate,
        settings,
        [stage, gallery, archive, last_seed, *buttons],
        api_name="sample",
        concurrency_limit=1,
        concurrency_id="network",
        show_progress="hidden",
    )
    run.failure(_idle, None, buttons, **at_once)
    stop.click(None, None, None, js=STOPPED)
    stop.click(_idle, None, buttons, cancels=[run], **at_once)
    return [model, label, guidance]


def _class_choices(description: Description) -> list[tuple[str, str]]:
    return [(MIXED, MIXED), *((description.title(name), name) for name in description.class_names)]


def _ready():
    warmup.wait()
    return gr.Button("Generate", interactive=True)


def _begin(draw, seed):
    return _random_seed() if draw else seed, gr.Button("Waiting …", interactive=False), gr.Button(interactive=True)


def _idle():
    return gr.Button("Generate", interactive=True), gr.Button(interactive=False)


def _refresh_models(model):
    names = list(models())
    return gr.Dropdown(titles(), value=model if model in names else names[0])


def show_classes(model, label):
    """The classes and the guidance that go with a model."""
    try:
        description = describe(folder_of(model))
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    kept = label if label in description.class_names else MIXED
    guidance = 2.0 if description.guidance else 1.0
    return gr.Dropdown(_class_choices(description), value=kept), gr.Slider(value=guidance, interactive=description.guidance)


def _random_seed() -> int:
    return random.randrange(DICE_SIDES)


def _restore(path):
    warmup.wait()
    from diffusion_demo.images import read_settings
    from diffusion_demo.sampling import Request, class_index
    from diffusion_demo.ui.loaded import load

    try:
        found = read_settings(path)
        checkpoint = load(folder_of(found["checkpoint"]))
        description = checkpoint.description
        index = class_index(found["class"], description) if "class" in found else None
        steps, eta, guidance = int(found["steps"]), float(found["eta"]), float(found["guidance_scale"])
        request = Request(1, found["sampler"], steps, eta, int(found["seed"]), index, guidance)
        request.check(description)
        if request.seed > MAX_SEED:
            raise BadInput(f"This page takes seeds up to {MAX_SEED}; use the command line for this picture.")
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise gr.Error("This picture's settings cannot be read; drop a PNG that was made here.", print_exception=False) from error
    if found.get("weights") != checkpoint.weights:
        gr.Warning(f"The settings are back, but {found['checkpoint']} has other weights now: the picture will differ.")
    else:
        gr.Info(f"The settings of seed {request.seed} are back.")
    label = gr.Dropdown(_class_choices(description), value=found.get("class", MIXED))
    return [found["checkpoint"], label, 1, request.sampler, steps, guidance, eta, request.seed, False, None]


def _generate(model: str, label: str, num_images: int, sampler: str, steps: int, guidance_scale: float, eta: float, seed: int):
    """Sample pictures, yielding (stage, gallery, zip file, seed, and the two buttons) as the denoising goes on."""
    warmup.wait()
    from diffusion_demo.images import save_png, to_pil, to_uint8
    from diffusion_demo.sampling import Request, class_index, file_name, noise_of, pictures_of, sample, settings_of
    from diffusion_demo.ui.film import film, first_frame, frame, kept_steps
    from diffusion_demo.ui.loaded import load

    try:
        folder = folder_of(model)
        checkpoint = load(folder)
        if num_images > MAX_IMAGES:
            raise BadInput(f"This page makes up to {MAX_IMAGES} images at a time; the command line makes any number.")
        if seed is None:
            raise BadInput("Fill in the seed with a whole number.")
        index = None if label in (MIXED, None) else class_index(label, checkpoint.description)
        request = Request(int(num_images), sampler, int(steps), float(eta), int(seed), index, float(guidance_scale))
        request.check(checkpoint.description)
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error

    pictures = pictures_of(request, checkpoint.description)
    frames = [first_frame(noise_of(checkpoint, pictures)(), len(checkpoint.diffusion))]
    started, shown, skip = time.monotonic(), 0.0, gr.skip()
    yield (
        film(frames, request.steps, f"Step 0 of {request.steps}", live=True),
        skip,
        skip,
        request.seed,
        gr.Button("Working …", interactive=False),
        gr.Button(interactive=True),
    )
    kept = kept_steps(request.steps, request.num_images * checkpoint.description.image_size**2)
    for step in _as_toasts(sample(checkpoint, request)):
        now = time.monotonic()
        due = step.index < step.total and now - shown > SECONDS_BETWEEN_FRAMES
        if due or step.index in kept:
            drawn = frame(step)
            if step.index in kept:
                frames.append(drawn)
        if due:
            each = (now - started) / step.index
            left, rate = each * (step.total - step.index), request.num_images / (each * step.total)
            status = f"Step {step.index} of {step.total}, {_seconds(left)} left, {rate:.1f} images/s"
            yield film([drawn], step.total, status, live=True), skip, skip, skip, skip, skip
            shown = time.monotonic()
    took = time.monotonic() - started
    status = f"{request.num_images} pictures in {_seconds(took)}, {request.num_images / took:.1f} images/s, seed {request.seed}."
    with tempfile.TemporaryDirectory() as results:  # gradio copies what it is given before it asks for more
        paths = []
        for pixels, settings in zip(to_uint8(step.xt), settings_of(request, pictures, model, checkpoint), strict=True):
            paths.append(Path(results) / file_name(settings["seed"]))
            save_png(paths[-1], to_pil(pixels), settings)
        yield (
            film(frames, step.total, status),
            [(str(path), None) for path in paths],
            gr.DownloadButton(value=str(_zip(paths)), visible=True),
            request.seed,
            *_idle(),
        )


def _as_toasts(steps):
    """The steps, with what goes wrong on the way said as a toast."""
    try:
        yield from steps
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _zip(paths: list[Path]) -> Path:
    archive = paths[0].parent / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in paths:
            file.write(path, path.name)
    return archive
