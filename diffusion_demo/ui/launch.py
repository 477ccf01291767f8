"""Command line of the web page: address, port and server."""

from diffusion_demo.ui import before_imports  # noqa: F401  before gradio and torch

# isort: split
import argparse
import errno
import os
import signal
import socket
import sys
from pathlib import Path

from diffusion_demo.cli import Parser
from diffusion_demo.errors import BadInput
from diffusion_demo.paths import ASSETS, read_asset
from diffusion_demo.ui import charts
from diffusion_demo.ui.page import build
from diffusion_demo.ui.server import cross_origin, hf_space, housekeeping, malloc, middleware, warmup
from diffusion_demo.ui.server.hf_login import Provider
from diffusion_demo.ui.server.input_guard import GuardedBlocks
from diffusion_demo.ui.server.model_list import RUNS, model_folders, upsampler_folders
from diffusion_demo.ui.settings import MAX_SESSIONS, PREFIX, Settings, settings
from diffusion_demo.ui.theme import CONTRAST_CSS, THEME
from diffusion_demo.ui.train import queue_thread

LOOPBACK = ("127.0.0.1", "localhost", "::1")
DEFAULT_PORT, PORTS_TRIED = 7860, 100
STYLES = ("style.css", "sample/sample.css", "train/train.css", "inspect/inspector.css", "inspect/lessons.css")


def main(arguments: list[str] | None = None, program: str = "python app.py") -> int:
    """Serve the page until Ctrl-C. Return the exit code: 2 if the address is not available or a setting is invalid.

    arguments  those of the command line; default: sys.argv[1:]
    program    how the user starts the page, for its help and messages
    """
    malloc.limit_arenas()
    options = _parse(arguments, program)
    if options.host not in LOOPBACK:
        os.environ.setdefault(f"{PREFIX}PUBLIC", "on")
    try:
        page_settings = settings()
        port = _choose_port(options.host, options.port, program)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # SIGTERM alone would skip the atexit handlers
    exempt_from_proxy(options.host)
    hf_space.place([*model_folders().values(), *upsampler_folders().values()])
    try:
        if page_settings.hf_login:
            Provider.from_environment(os.environ)
        page = build()
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    _start(page, options, port, page_settings)
    housekeeping.start(page)
    queue_thread.start()
    print(
        f"Diffusion Demo is running at http://{_in_url(options.host)}:{port}. Training runs are in {RUNS}. "
        "Press Ctrl-C to stop.",
        flush=True,
    )
    warmup.start()
    page.block_thread()
    return 0


def _on_space() -> bool:
    """Return whether this process runs on a Hugging Face Space."""
    return "SPACE_ID" in os.environ


def _port(text: str) -> int:
    """Return a port number; a `type` of argparse, because the error of `choices` would list all 65,535 ports."""
    if not (text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"the port must be from 1 to 65535, not {text[:20]!r}")
    return int(text)


def _parse(arguments: list[str] | None, program: str) -> argparse.Namespace:
    parser = Parser(
        prog=program,
        description="Sample, train and inspect diffusion models in the browser.",
        epilog=f"Training runs are in {RUNS}; {PREFIX}RUNS names another folder.",
    )
    parser.add_argument(
        "--host",
        default="0.0.0.0" if _on_space() else "127.0.0.1",
        help="address to listen on; any other than loopback makes the page public (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        metavar="PORT",
        help=f"port to listen on (default: {DEFAULT_PORT}, or the next free one)",
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser window")
    return parser.parse_args(arguments)


def _choose_port(host: str, port: int | None, program: str) -> int:
    """Return the requested port, or the first free one from DEFAULT_PORT on if None is requested.

    Raises BadInput if the server cannot listen there.
    """
    # A Space forwards the default port alone.
    last = DEFAULT_PORT if _on_space() else DEFAULT_PORT + PORTS_TRIED - 1
    for candidate in [port] if port is not None else range(DEFAULT_PORT, last + 1):
        error = _bind_error(host, candidate)
        if error is None:
            return candidate
        if error.errno != errno.EADDRINUSE:
            raise BadInput(
                f"Cannot listen on {host}, port {candidate} ({error.strerror}). "
                "Use an address of this machine and a free port."
            )
    if port is None:
        raise BadInput(f"Ports {DEFAULT_PORT} to {last} on {host} are in use. Choose another: {program} --port PORT")
    raise BadInput(f"Port {port} on {host} is in use. Try another port: {program} --port {port % 65535 + 1}")


def _bind_error(host: str, port: int) -> OSError | None:
    """Return why the server cannot listen on this address, or None if it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def _in_url(host: str) -> str:
    """Return the host as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def exempt_from_proxy(host: str) -> None:
    """Add this machine to NO_PROXY, because Gradio checks that it runs by a request to its own address."""
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        missing = [entry for entry in (*LOOPBACK, host) if entry not in known.split(",")]
        os.environ[name] = ",".join(filter(None, [known, *missing]))


def _head() -> str:
    """Return the HTML for the head of the page. Scripts and styles are inline, so the page requests no other files."""
    stream = f"<script>{read_asset('event_stream.js')}</script>"
    return stream + charts.head() + f"<style>{read_asset('whole_page.css')}</style>"


def _start(page: GuardedBlocks, options: argparse.Namespace, port: int, page_settings: Settings) -> None:
    """Start the server in a thread."""
    page.queue(max_size=2 * page_settings.queue, default_concurrency_limit=4)
    cross_origin.disable_gradios_cors()
    guards = middleware.middleware(page_settings, Path(os.environ["GRADIO_TEMP_DIR"]), page.visitor_files)
    page.launch(
        server_name=_in_url(options.host),
        server_port=port,
        inbrowser=not (options.no_browser or _on_space()),
        prevent_thread_lock=True,
        theme=THEME,
        css=CONTRAST_CSS,
        css_paths=[*charts.STYLES, *(ASSETS / name for name in STYLES)],
        head=_head(),
        js=read_asset("shell.js"),
        favicon_path=str(ASSETS / "favicon.svg"),
        ssr_mode=False,
        run_history=False,
        footer_links=["api"],
        max_file_size=f"{page_settings.upload_mb}mb",
        max_threads=page_settings.queue + 40,  # every request in the queue occupies a thread
        state_session_capacity=MAX_SESSIONS,
        enable_monitoring=False,
        mcp_server=page_settings.mcp,
        app_kwargs={"middleware": guards},
        show_error=False,
        quiet=True,
    )
