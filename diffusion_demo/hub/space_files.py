"""The files of a Space: the package, the bundled models, and three files written for it. Nothing else is uploaded."""

import os
from pathlib import Path

from diffusion_demo.hub.space_card import readme
from diffusion_demo.hub.space_requirements import requirements_of_space
from diffusion_demo.paths import CHECKPOINTS, PACKAGE

# Editors and systems leave files in a checkout that do not belong to the package.
SUFFIXES = {".py", ".typed", ".css", ".html", ".js", ".json", ".md", ".png", ".svg", ".webp", ".safetensors"}

APP = """\"\"\"Entry point of the page on a Hugging Face Space.\"\"\"

if __name__ == "__main__":
    from diffusion_demo.ui.launch import main

    raise SystemExit(main())
"""


def files_of_space(title: str = "Diffusion Demo", login: bool = False) -> dict[str, Path | bytes]:
    """Return the files of a Space by their path in it: a file of this machine, or the content.

    login  whether visitors may log in with Hugging Face
    """
    package = {f"diffusion_demo/{name}": file for name, file in _tree(PACKAGE).items()}
    checkpoints = {f"checkpoints/{name}": file for name, file in _tree(CHECKPOINTS).items()}
    # In an installed package they lie inside it; a Space has them beside it, as a checkout.
    package = {name: file for name, file in package.items() if not name.startswith("diffusion_demo/checkpoints/")}
    written = {
        "README.md": readme(title, login).encode(),
        "app.py": APP.encode(),
        "requirements.txt": requirements_of_space().encode(),
    }
    return dict(sorted((package | checkpoints | written).items()))


def _belongs(path: Path) -> bool:
    return (path.suffix in SUFFIXES or path.name == "LICENSE") and os.path.isfile(path)


def _tree(folder: Path) -> dict[str, Path]:
    files = (path for path in folder.rglob("*") if _belongs(path))
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: path for name, path in named.items() if not any(part.startswith(".") for part in name.split("/"))}
