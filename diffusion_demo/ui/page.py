"""The page: its tabs, theme and launch."""

import argparse
import errno
import os
import signal
import socket
import sys
from pathlib import Path

from diffusion_demo.ui.server import temp_files

# Read by gradio while it loads: no telemetry, no version check, and a cache of our own that goes when the server does.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if "GRADIO_TEMP_DIR" not in os.environ:
    os.environ["GRADIO_TEMP_DIR"] = str(temp_files.folder())

from diffusion_demo.ui.server import hf_space  # noqa: F401  before anything that loads torch

# isort: split
import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.paths import ASSETS
from diffusion_demo.ui.inspect import tab as inspect_tab
from diffusion_demo.ui.sample import tab as sample_tab
from diffusion_demo.ui.server import housekeeping, malloc, middleware, warmup
from diffusion_demo.ui.server.input_guard import GuardedBlocks
from diffusion_demo.ui.settings import PREFIX, SESSIONS, settings
from diffusion_demo.ui.train import tab as train_tab

LOOPBACK = ("127.0.0.1", "localhost", "::1")
INTRODUCTION = """# Diffusion Demo
A tiny diffusion model, running on this very machine, makes images out of noise, one small step at a time."""
CREDITS = """The avatar model was trained on drawings by [DiceBear](https://www.dicebear.com) (CC0 1.0), the emoji model on
[Noto Emoji](https://github.com/googlefonts/noto-emoji), Google LLC (Apache License 2.0).
The mathematics: [DDPM](https://arxiv.org/abs/2006.11239), [Improved DDPM](https://arxiv.org/abs/2102.09672), [Guided Diffusion](https://arxiv.org/abs/2105.05233)."""

# The default theme with the contrast that WCAG AA asks for, and the machine's own fonts.
THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    input_placeholder_color="*neutral_500",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover_dark="*primary_500",
    button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_hover="#991b1b",
    button_cancel_background_fill_dark="#b91c1c",
    button_cancel_background_fill_hover_dark="#991b1b",
)

# The chosen tab is in the accent, which themes have but one of: too light on white, too dark on the night.
CONTRAST = (
    "button[role=tab].selected{color:var(--primary-600)} .dark button[role=tab].selected{color:var(--primary-400)}"
)


def build() -> gr.Blocks:
    """The whole page. Nothing heavy is loaded here."""
    age = 60 * settings().temporary_minutes
    with GuardedBlocks(
        settings(), title="Diffusion Demo", analytics_enabled=False, delete_cache=(min(age, 3600), age)
    ) as page:
        gr.Markdown(INTRODUCTION, elem_id="introduction")
        with gr.Tabs() as tabs:
            with gr.Tab("Sample", id="sample"):
                opened = sample_tab.build(page)
            with gr.Tab("Train", id="train"):
                train_tab.build(page, tabs, opened)
            with gr.Tab("Inspect", id="inspect"):
                inspect_tab.build(page, tabs)
        gr.Markdown(CREDITS, elem_id="credits")
    return page


def _cannot_listen(host: str, port: int) -> str | None:
    """A sentence when no server can be opened there; None when one can."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"Port {port} of {host} is in use; choose another, for example: python app.py --port {port % 65535 + 1}"
            return f"Cannot listen on {host}, port {port} ({error.strerror}); choose an address of this machine and a free port."
    return None


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C. Returns the exit code: 2 when the port is taken, or a setting makes no sense."""
    malloc.limit_arenas()
    parser = argparse.ArgumentParser(
        prog="python app.py", description="See, run and train diffusion models in the browser."
    )
    on_space = "SPACE_ID" in os.environ
    parser.add_argument(
        "--host", default="0.0.0.0" if on_space else "127.0.0.1", help="default: %(default)s, this machine alone"
    )
    parser.add_argument(
        "--port", type=int, choices=range(1, 65536), metavar="PORT", default=7860, help="default: %(default)s"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser window")
    parsed = parser.parse_args(arguments)
    if problem := _cannot_listen(parsed.host, parsed.port):
        print(problem, file=sys.stderr)
        return 2
    if parsed.host not in LOOPBACK:
        os.environ.setdefault(f"{PREFIX}PUBLIC", "on")
    try:
        allowed = settings()
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what is registered to be tidied up is
    page = build()
    page.queue(max_size=2 * allowed.queue, default_concurrency_limit=4)
    page.launch(
        server_name=parsed.host,
        server_port=parsed.port,
        inbrowser=not (parsed.no_browser or on_space),
        prevent_thread_lock=True,
        theme=THEME,
        css=CONTRAST,
        css_paths=[ASSETS / "style.css", ASSETS / "inspect" / "inspector.css", ASSETS / "inspect" / "panels.css"],
        ssr_mode=False,
        run_history=False,
        footer_links=["api"],
        max_file_size=f"{allowed.upload_mb}mb",
        max_threads=allowed.queue + 40,  # who waits for a turn holds one
        state_session_capacity=SESSIONS,
        auth=allowed.login,
        enable_monitoring=False,
        app_kwargs={"middleware": middleware.middleware(allowed, Path(os.environ["GRADIO_TEMP_DIR"]))},
        show_error=False,
        quiet=True,
    )
    housekeeping.start(page)
    print(f"Diffusion Demo is at http://{parsed.host}:{parsed.port} (Ctrl-C ends it)", flush=True)
    warmup.start()
    page.block_thread()
    return 0
