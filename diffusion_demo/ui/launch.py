"""Command line of the web page: address, port and server."""

from diffusion_demo.ui import environment  # noqa: F401  before gradio and torch

# isort: split
import argparse
import errno
import os
import signal
import socket
import sys
from pathlib import Path

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.paths import ASSETS
from diffusion_demo.ui.page import build
from diffusion_demo.ui.server import housekeeping, malloc, middleware, warmup
from diffusion_demo.ui.settings import MAX_SESSIONS, PREFIX, Settings, settings
from diffusion_demo.ui.theme import CONTRAST_CSS, THEME

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C. Return the exit code: 2 if the address is not available or a setting is invalid."""
    malloc.limit_arenas()
    options = _parse(arguments)
    if problem := _address_problem(options.host, options.port):
        print(problem, file=sys.stderr)
        return 2
    if options.host not in LOOPBACK:
        os.environ.setdefault(f"{PREFIX}PUBLIC", "on")
    try:
        page_settings = settings()
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # SIGTERM alone would skip the atexit handlers
    exempt_from_proxy(options.host)
    page = build()
    _start(page, options, page_settings)
    housekeeping.start(page)
    print(
        f"Diffusion Demo is running at http://{_in_url(options.host)}:{options.port}. Press Ctrl-C to stop.", flush=True
    )
    warmup.start()
    page.block_thread()
    return 0


def _on_space() -> bool:
    """Return whether this process runs on a Hugging Face Space."""
    return "SPACE_ID" in os.environ


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python app.py", description="Sample, train and inspect diffusion models in the browser."
    )
    parser.add_argument(
        "--host",
        default="0.0.0.0" if _on_space() else "127.0.0.1",
        help="address to listen on; any other than loopback makes the page public (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=int,
        choices=range(1, 65536),
        metavar="PORT",
        default=7860,
        help="port to listen on (default: %(default)s)",
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser window")
    return parser.parse_args(arguments)


def _address_problem(host: str, port: int) -> str | None:
    """Return why the server cannot listen on this address, or None if it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                another = port % 65535 + 1
                return f"Port {port} on {host} is in use. Try another port: python app.py --port {another}"
            return (
                f"Cannot listen on {host}, port {port} ({error.strerror}). "
                "Use an address of this machine and a free port."
            )
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


def _start(page: gr.Blocks, options: argparse.Namespace, page_settings: Settings) -> None:
    """Start the server in a thread."""
    page.queue(max_size=2 * page_settings.queue, default_concurrency_limit=4)
    page.launch(
        server_name=_in_url(options.host),
        server_port=options.port,
        inbrowser=not (options.no_browser or _on_space()),
        prevent_thread_lock=True,
        theme=THEME,
        css=CONTRAST_CSS,
        css_paths=[ASSETS / "style.css", ASSETS / "inspect" / "inspector.css", ASSETS / "inspect" / "panels.css"],
        ssr_mode=False,
        run_history=False,
        footer_links=["api"],
        max_file_size=f"{page_settings.upload_mb}mb",
        max_threads=page_settings.queue + 40,  # every request in the queue occupies a thread
        state_session_capacity=MAX_SESSIONS,
        auth=page_settings.login,
        enable_monitoring=False,
        app_kwargs={"middleware": middleware.middleware(page_settings, Path(os.environ["GRADIO_TEMP_DIR"]))},
        show_error=False,
        quiet=True,
    )
