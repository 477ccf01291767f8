"""What the page shows of a model before its first run, and the captions of images."""

import shutil

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.paths import CHECKPOINTS
from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.preview.captions import image_captions, run_caption

AVATARS = CHECKPOINTS / "avatars-32"


def test_a_bundled_model_shows_its_own_example_with_a_caption_per_image():
    example = showcase.read(AVATARS)
    assert example.animation["caption"].startswith("Avatars, 32x32 (bundled) · All classes · Seeds 0 to 15 · ")
    assert len(example.files) == len(example.animation["cells"]) == 16 and example.animation["frames"]


def test_any_other_model_shows_an_invitation_that_names_it(random_checkpoint, tmp_path):
    folder = shutil.copytree(random_checkpoint, tmp_path / "pets")
    invitation = showcase.read(folder)
    assert invitation.files == [] and invitation.animation["frames"] == []
    assert "pets (imported) is ready." in invitation.animation["empty"]
    shutil.copytree(AVATARS / showcase.FOLDER, folder / showcase.FOLDER)  # anybody may have written it: not read
    assert showcase.read(folder) == invitation


def test_an_exact_model_shows_the_images_that_it_knows():
    animation = showcase.read(showcase.Path("oracle-memory")).animation
    assert animation["known"].startswith("data:image/png;base64,") and "16 images" in animation["empty"]


def test_only_bundled_models_give_their_classes_thumbnails_and_no_name_leaves_its_string(tmp_path, monkeypatch):
    css = showcase.thumbnail_css(AVATARS, load_metadata(AVATARS), "#cards", "mixed")
    assert css.count("url(data:image/png") == 10 + showcase.MOSAIC and '[value="block\\20 person"]' in css
    hostile = '"]{}</style><script>'
    metadata = CheckpointMetadata(32, 3, 1000, (hostile,))
    folder = tmp_path / "model"
    (folder / showcase.THUMBNAILS).mkdir(parents=True)
    assert showcase.thumbnail_css(folder, metadata, "#cards", "mixed") == ""
    assert not set('"]{}<>/') & set(showcase._css_string(hostile))


def test_captions_say_what_the_images_share_and_what_tells_them_apart():
    metadata = CheckpointMetadata(32, 3, 1000, ("cat", "dog"), {"dog": "big dog"}, guidance=True)
    common = {"sampler": "ddim", "steps": 1, "guidance_scale": 1.0}
    one = [common | {"seed": 4, "class": "dog"}]
    assert run_caption(one, "Pets", metadata) == "Pets · Big dog · Seed 4 · DDIM, 1 step"
    assert image_captions(one, metadata) == ["Big dog, seed 4"]
    two = [*one, common | {"seed": 5, "class": "cat"}]
    assert run_caption(two, "Pets", metadata) == "Pets · All classes · Seeds 4 to 5 · DDIM, 1 step"
    varied = [{"seed": 0, "how_far": 50.0, "steps": 25, "guidance_scale": 2.0, "class": "cat"}]
    assert run_caption(varied, "Pets", metadata) == "Pets · Cat · Seed 0 · Strength 50 % · DDPM, 25 steps · Guidance 2"
    unlabeled = CheckpointMetadata(32, 3, 1000)
    assert run_caption([common | {"seed": 1}], "Plain", unlabeled) == "Plain · Seed 1 · DDIM, 1 step"
    assert image_captions([common | {"seed": 1}], unlabeled) == ["Seed 1"]
