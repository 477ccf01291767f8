"""The image that a comparison makes: its labeled grid, and the settings inside it."""

from dataclasses import asdict

from diffusion_demo import __version__

SAMPLERS = {"dpm_solver": "DPM-Solver++", "ddim": "DDIM", "ddpm": "DDPM"}


def drawn(plan, made: dict, description):
    """The grid so far."""
    from diffusion_demo.images import contact_sheet, to_uint8
    from diffusion_demo.sampling.contact_sheet import GridImage, labeled_grid

    cells = {place: GridImage(contact_sheet(to_uint8(x)), caption) for place, (x, caption) in made.items()}
    heads = [
        [_head(side, value, description) for value in side.values] if side else [""]
        for side in (plan.across, plan.down)
    ]
    return labeled_grid(cells, *heads, _below(plan, description))


def _head(side, value, description) -> str:
    if isinstance(value, str):
        return SAMPLERS.get(value) or description.title(value)
    return f"{value} {side.title}" if side.name in ("calls", "steps") else f"{side.title} {value:g}"


def caption(request, calls: int) -> str:
    steps = f"{request.steps} step{'s' * (request.steps != 1)}"
    words = f"{steps}, {calls} call{'s' * (calls != 1)}"
    return f"{words} and {request.steps} of the classifier" if request.classifier_scale else words


def _below(plan, description) -> str:
    """What holds in every cell."""
    base, varied = plan.base, {side.name for side in (plan.across, plan.down) if side}
    names = description.class_names
    held = {
        "checkpoint": f"model {plan.checkpoint}",
        "class": f"class {'mixed' if base.class_index is None else description.title(names[base.class_index])}"
        if names
        else "",
        "sampler": SAMPLERS[base.sampler],
        "guidance_scale": f"guidance {base.guidance_scale:g}" if base.guidance_scale != 1 else "",
        "classifier_scale": f"classifier guidance {base.classifier_scale:g}" if base.classifier_scale else "",
        "eta": f"eta {base.eta:g}" if base.eta and "sampler" not in varied else "",
        "seed": f"seed {base.seed}",
    }
    return (
        ", ".join(words for name, words in held.items() if words and name not in varied)
        + ". A call is one question to the network."
    )


def settings_of(plan) -> dict:
    """The text inside the grid's PNG."""
    sides = {
        word: {"setting": side.name, "values": list(side.values)}
        for word, side in (("across", plan.across), ("down", plan.down))
        if side
    }
    base = {name: value for name, value in asdict(plan.base).items() if name != "steps"}
    return (
        {
            "program": f"diffusion_demo {__version__}",
            "made_by": "compare",
            "checkpoint": plan.checkpoint,
            "calls": plan.calls,
        }
        | sides
        | base
    )
