"""What a trainer left: events, the weights of its checkpoints, or one sentence."""

from safetensors.torch import load_file

from diffusion_demo.training.run_folder import RunFolder


def events_of(run):
    return RunFolder(run).events()


def of_type(run, kind):
    return [event for event in events_of(run) if event["type"] == kind]


def weights_of(checkpoint):
    return {
        f"{path.relative_to(checkpoint).as_posix()}:{name}": value
        for path in sorted(checkpoint.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def assert_refused(done, *words):
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].endswith(".") and all(word in lines[0] for word in words), done.stderr
