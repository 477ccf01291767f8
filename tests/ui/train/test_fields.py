"""The fields of the training settings: which of their values a run is started with."""

from diffusion_demo.training.config import FINE_TUNING, TrainConfig
from diffusion_demo.ui.train.fields import changed_settings


def test_the_defaults_of_a_new_network_are_kept_when_they_are_chosen_for_fine_tuning():
    defaults = {name: TrainConfig.model_fields[name].default for name in (*FINE_TUNING, "batch_size")}
    names, values = list(defaults), tuple(defaults.values())
    assert changed_settings({"preset": "tiny"}, names, values) == {}
    chosen = changed_settings({"init_from": "avatars-32"}, names, values)
    assert chosen == {name: defaults[name] for name in FINE_TUNING}
