"""Process settings that must be made before gradio and torch are imported. Import this module first."""

import os
from pathlib import Path

from diffusion_demo.ui.server import temp_files

# gradio reads these on import: no telemetry, no version check, and a cache folder that is deleted with the process.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if "GRADIO_TEMP_DIR" not in os.environ:
    os.environ["GRADIO_TEMP_DIR"] = str(temp_files.create_folder())
os.environ["GRADIO_TEMP_DIR"] = str(Path(os.environ["GRADIO_TEMP_DIR"]).resolve())  # compared with resolved paths

# ZeroGPU requires `spaces` to be imported before torch; `spaces` itself may import gradio.
from diffusion_demo.ui.server import hf_space  # noqa: F401
