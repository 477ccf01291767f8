"""Hypothesis strategies for the inputs of an endpoint: valid values, values near them, and others."""

from pathlib import Path

from hypothesis import strategies as st

from diffusion_demo.ui.server import schemas

META = {"_type": "gradio.FileData"}
CANARY = Path(__file__).resolve()  # a file of this machine that no request may open
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def files(own: str) -> st.SearchStrategy:
    """Return FileData dicts: `own`, which the caller uploaded, and files of others."""
    paths = st.sampled_from([own, str(CANARY), "/etc/passwd", "/dev/zero", f"{own}/../own.png", "app.py", "", "\x00"])
    metas = st.sampled_from([META, None, {}, {"_type": "x"}])
    urls = st.sampled_from([None, "http://127.0.0.1:9/x", f"/gradio_api/file={CANARY}"])
    return st.fixed_dictionaries({"path": paths}, optional={"meta": metas, "url": urls, "is_stream": st.booleans()})


def values(kind: str, props: dict, own: str) -> st.SearchStrategy:
    """Return values for an input component of this kind, with these properties as in the page's config."""
    near: list = [st.none(), JSON, files(own), st.lists(files(own), max_size=3)]
    if "choices" in props:
        choices = [value for _, value in props["choices"]] or [""]
        near += [st.sampled_from(choices), st.lists(st.sampled_from(choices), max_size=len(choices) + 2)]
    if "minimum" in props:
        low, high = props["minimum"] or 0, props["maximum"] or 100
        near += [st.floats(low, high), st.integers(int(low) - 1, int(high) + 1), st.sampled_from([low, high])]
    if kind in ("textbox", "colorpicker", "browserstate"):
        near.append(st.text(max_size=schemas.MAX_TEXT + 1))
    return st.one_of(near)


@st.composite
def payloads(draw: st.DrawFn, inputs: list[tuple[str, dict]], own: str) -> list:
    """Draw the inputs of one call, some of them as they are on the page, sometimes one too few."""
    data = [
        draw(st.just(props.get("value")) | values(kind, props, own)) if draw(st.booleans()) else props.get("value")
        for kind, props in inputs
    ]
    return data[: draw(st.sampled_from([len(data), len(data), max(0, len(data) - 1)]))]
