"""Deploy the page as a Hugging Face Space: a list of requests that can be printed or made."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_demo.errors import BadInput
from diffusion_demo.hub.account import check_name, hub_errors_as_bad_input
from diffusion_demo.hub.space_files import files_of_space

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ZERO_GPU = "zero-a10g"
MOUNT = "/data"
PREFIX = "DIFFUSION_DEMO_"
KEPT = (".gitattributes",)  # files of the Hub that a new deployment does not delete
MESSAGE = "Deploy with diffusion-demo deploy"


@dataclass(frozen=True)
class Deployment:
    """A Space to create or update.

    space      USER/NAME
    flavor     hardware; the Hub would choose paid CPUs without it
    variables  environment variables of the Space, by name
    bucket     USER/NAME of a storage bucket that keeps the runs, or None
    login      whether visitors may log in with Hugging Face
    """

    space: str
    flavor: str = ZERO_GPU
    private: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    bucket: str | None = None
    login: bool = False

    def __post_init__(self):
        check_name(self.space, "The name of the Space")
        if self.bucket is not None:
            check_name(self.bucket, "The name of the bucket")

    @property
    def all_variables(self) -> dict[str, str]:
        """The variables with the folder of the runs, if a bucket keeps them."""
        return dict(self.variables) | ({f"{PREFIX}RUNS": MOUNT} if self.bucket else {})

    def files(self) -> dict[str, Path | bytes]:
        """Return the files of the Space by their path in it."""
        return files_of_space(self.space.partition("/")[2], self.login)


@dataclass(frozen=True)
class HubRequest:
    """A request to the Hub: what it does, its method, path and JSON body, and the call that makes it."""

    action: str
    method: str
    path: str
    body: dict[str, Any]
    send: Callable[["HfApi"], Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {json.dumps(self.body, sort_keys=True)}"


def settings_requests(deployment: Deployment) -> Iterator[HubRequest]:
    """Yield the requests that create the Space and set its variables and its bucket, in order."""
    space = deployment.space
    if deployment.bucket:
        yield _create_bucket(deployment.bucket)
    yield _create_space(deployment)
    for name, value in deployment.all_variables.items():
        yield HubRequest(
            f"set the variable {name}",
            "POST",
            f"/api/spaces/{space}/variables",
            {"key": name, "value": value},
            lambda api, name=name, value=value: api.add_space_variable(space, name, value),
        )
    if deployment.bucket:
        yield _mount(space, deployment.bucket)


def _create_bucket(bucket: str) -> HubRequest:
    return HubRequest(
        f"create the bucket {bucket}",
        "POST",
        f"/api/buckets/{bucket}",
        {"visibility": "private"},
        lambda api: api.create_bucket(bucket, private=True, exist_ok=True),
    )


def _create_space(deployment: Deployment) -> HubRequest:
    user, name = deployment.space.split("/")
    visibility = "private" if deployment.private else "public"
    return HubRequest(
        f"create the Space {deployment.space}",
        "POST",
        "/api/repos/create",
        {
            "type": "space",
            "organization": user,
            "name": name,
            "sdk": "gradio",
            "hardware": deployment.flavor,
            "visibility": visibility,
        },
        lambda api: api.create_repo(
            deployment.space,
            repo_type="space",
            space_sdk="gradio",
            space_hardware=deployment.flavor,  # pyright: ignore[reportArgumentType]  # new flavors are not in its list
            private=deployment.private,
            exist_ok=True,
        ),
    )


def _mount(space: str, bucket: str) -> HubRequest:
    from huggingface_hub import Volume

    volume = Volume(type="bucket", source=bucket, mount_path=MOUNT)
    return HubRequest(
        f"mount the bucket at {MOUNT}",
        "PUT",
        f"/api/spaces/{space}/volumes",
        {"volumes": [volume.to_dict()]},
        lambda api: api.set_space_volumes(space, [volume]),
    )


def upload_requests(space: str) -> list[str]:
    """Return the requests of an upload, as method and path. The third one asks the Hub which files are large."""
    return [
        f"GET /api/spaces/{space}/tree/main",
        "POST /api/validate-yaml",
        f"POST /api/spaces/{space}/preupload/main",
        f"POST /spaces/{space}.git/info/lfs/objects/batch (or the Xet storage, for large files)",
        f"POST /api/spaces/{space}/commit/main",
    ]


def deploy(deployment: Deployment, api: "HfApi", show: Callable[[str], None]) -> str:
    """Create or update the Space, and return its address. Raises BadInput if the Hub refuses.

    show  is called with each action before it is done
    """
    for request in settings_requests(deployment):
        show(request.action[:1].upper() + request.action[1:])
        with hub_errors_as_bad_input(request.action):
            request.send(api)
    files = deployment.files()
    show(f"Upload {len(files)} files")
    with hub_errors_as_bad_input("upload the files"):
        _upload(api, deployment.space, files)
    return f"{api.endpoint}/spaces/{deployment.space}"


def _upload(api: "HfApi", space: str, files: Mapping[str, Path | bytes]) -> None:
    """Commit the files, and delete those of an earlier release."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    old = set(api.list_repo_files(space, repo_type="space")) - {*files, *KEPT}
    operations = [CommitOperationAdd(name, file) for name, file in files.items()]
    deletions = [CommitOperationDelete(name) for name in sorted(old)]
    api.create_commit(space, [*operations, *deletions], commit_message=MESSAGE, repo_type="space")


def parse_variables(texts: list[str]) -> dict[str, str]:
    """Return the variables of the Space for NAME=VALUE texts; the prefix DIFFUSION_DEMO_ may be left out.

    Raises BadInput for a text of another form, and for LOGIN, because everybody can read the variables of a Space.
    """
    variables = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.removeprefix(PREFIX)
        if not (equals and value and name.isascii() and name.replace("_", "").isalnum() and name.isupper()):
            raise BadInput(f"--set must be NAME=VALUE, such as IMAGES=8, not {name[:40]!r}.")
        if name == "LOGIN":
            raise BadInput(
                "A login is a secret, and everybody can read the variables of a Space. Set DIFFUSION_DEMO_LOGIN as a "
                "secret in the settings of the Space."
            )
        variables[f"{PREFIX}{name}"] = value
    return variables
