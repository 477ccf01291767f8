"""Publish the latest checkpoint of a run on the Hugging Face Hub, with the token of this machine."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.components import Component

from diffusion_demo.hub.account import writing_api
from diffusion_demo.hub.publish import publish as upload
from diffusion_demo.hub.publish_settings import LICENSES, PublishSettings
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import run_actions

TITLE = "Publish on the Hugging Face Hub"
NO_CHECKPOINT = "This run has no checkpoint yet. Wait for the first one, or press Save now."
WORKING = "Publishing: sampling sixteen images, then uploading …"
PUBLISHED = "Published as [{name}]({address}). Anyone with access can enter this name in Train, under Start from."


def build(run: Component, owner: Component) -> None:
    """Lay out the part and connect it. On a public page there is none, because the token is that of its host.

    run, owner  the components with the name of the selected run and the secret token of the browser
    """
    if settings().public:
        return
    with gr.Accordion(TITLE, open=False, elem_id="train-publish"):
        name = gr.Textbox(label="Name on the Hub", placeholder="your-name/my-model", max_length=200, interactive=True)
        license_name = gr.Dropdown(
            list(LICENSES),
            value=None,
            label="License",
            info="The license of your training images may limit the choice.",
            interactive=True,
        )
        private = gr.Checkbox(True, label="Private", info="Only you can see the model.", interactive=True)
        button = gr.Button("Publish", elem_id="train-publish-start")
        status = gr.Markdown(elem_id="train-published")
    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    published = button.click(publish, [run, owner, name, license_name, private], status, **options)
    published.failure(lambda: "", None, status, queue=False, **options)


def publish(
    run_name: str | None, owner_token: object, name: str | None, license_name: str | None, private: bool
) -> Iterator[str]:
    """Publish the latest checkpoint of a run, and yield the status in Markdown. Raises gr.Error."""
    run = run_actions.owned_run(run_name, owner_token)
    folder = run.latest()
    if folder is None:
        raise gr.Error(NO_CHECKPOINT, print_exception=False)
    with user_errors_as_toasts():
        if not license_name:
            raise gr.Error("Choose a license.", print_exception=False)
        publication = PublishSettings((name or "").strip(), license_name, private)
        api = writing_api()
        yield WORKING
        address = upload(folder, publication, api)
    yield PUBLISHED.format(name=publication.name, address=address)
