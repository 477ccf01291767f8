"""Check that the tests detect typical faults of diffusion code: `python -m scripts.mutations`.

Each fault is a known mistake in ports of the papers' code or of diffusers. It changes one line in a copy of the
project, on which the tests named in the fault then run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Fault(NamedTuple):
    """A fault: with `right` replaced by `wrong` in diffusion_demo/`file`, one of `tests` must fail.

    `file` is relative to diffusion_demo, `tests` are paths separated by spaces.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: str


FAULTS = [
    Fault(
        "the log posterior variance at t = 0 is clamped, not taken from t = 1",
        "diffusion/process.py",
        "return self._first_from_second(self.posterior_variance).log()",
        "return self.posterior_variance.clamp(min=1e-20).log()",
        "tests/diffusion/test_process.py tests/diffusion/test_losses.py",
    ),
    Fault(
        "fixed_large keeps beta at t = 0",
        "diffusion/process.py",
        "return torch.cat([self._first_from_second(self.posterior_variance)[:1], self.betas[1:]])",
        "return self.betas",
        "tests/diffusion/test_process.py",
    ),
    Fault(
        "the learned range is not shifted from [-1, 1] to [0, 1]",
        "diffusion/process.py",
        "share = (v + 1) / 2",
        "share = v",
        "tests/diffusion/test_process.py tests/diffusion/test_samplers.py",
    ),
    Fault(
        "the learned range is clamped",
        "diffusion/process.py",
        "share = (v + 1) / 2",
        "share = ((v + 1) / 2).clamp(0, 1)",
        "tests/diffusion/test_process.py",
    ),
    Fault(
        "the learned range interpolates variances, not their logs",
        "diffusion/process.py",
        "log_variance = share * upper + (1 - share) * lower",
        "log_variance = (share * upper.exp() + (1 - share) * lower.exp()).log()",
        "tests/diffusion/test_process.py tests/diffusion/test_samplers.py",
    ),
    Fault(
        "clipping x_0 does not update eps",
        "diffusion/process.py",
        "self.eps_from_x0(xt, t, x0))",
        "self.eps_from_x0(xt, t, self.predict_x0(prediction, xt, t)))",
        "tests/diffusion/test_process.py tests/diffusion/test_samplers.py",
    ),
    Fault(
        "q(x_t | x_0) uses the standard deviation as the variance",
        "diffusion/process.py",
        "variance, log_variance = 1 - self.abar, torch.log1p(-self.abar)",
        "variance, log_variance = (1 - self.abar).sqrt(), torch.log1p(-self.abar)",
        "tests/diffusion/test_process.py",
    ),
    Fault(
        "a respaced chain passes its own index to the network",
        "diffusion/process.py",
        "timesteps=self.timesteps[kept])",
        "timesteps=torch.arange(len(kept)))",
        "tests/diffusion/test_process.py tests/diffusion/test_samplers.py",
    ),
    Fault(
        "a respaced chain keeps the old betas",
        "diffusion/process.py",
        "betas = betas_from_alphas_cumprod(self.abar[kept])",
        "betas = self.betas[kept]",
        "tests/diffusion/test_process.py",
    ),
    Fault(
        "the tables are float32",
        "diffusion/process.py",
        "return alphas_cumprod(self.betas)",
        "return alphas_cumprod(self.betas.float()).double()",
        "tests/diffusion/test_process.py",
    ),
    Fault(
        "the predicted mean is clipped",
        "diffusion/process.py",
        'mean = prediction if self.prediction_type == "previous" else self.q_posterior(x0, xt, t).mean',
        "mean = self.q_posterior(x0, xt, t).mean",
        "tests/diffusion/test_process.py",
    ),
    Fault(
        "the bound term of the hybrid loss trains the mean",
        "diffusion/losses.py",
        "torch.cat([prediction.detach(), v], dim=1)",
        "torch.cat([prediction, v], dim=1)",
        "tests/diffusion/test_losses.py",
    ),
    Fault(
        "the bound term of the hybrid loss is not scaled by T / 1000",
        "diffusion/losses.py",
        '(1 if kind == "hybrid_unscaled" else len(diffusion) / 1000)',
        "1",
        "tests/diffusion/test_losses.py",
    ),
    Fault(
        "the term at t = 0 is a KL",
        "diffusion/losses.py",
        "torch.where(is_first, decoder_term(p, x0), kl_term(diffusion.q_posterior(x0, xt, t), p))",
        "kl_term(diffusion.q_posterior(x0, xt, t), p)",
        "tests/diffusion/test_losses.py tests/diffusion/test_likelihood.py",
    ),
    Fault(
        "the last bin of the decoder is not open to infinity",
        "diffusion/losses.py",
        "inside = torch.where(x0 > 0.999, 1 - lower, upper - lower)",
        "inside = upper - lower",
        "tests/diffusion/test_losses.py",
    ),
    Fault(
        "the bound is in nats",
        "diffusion/losses.py",
        "return mean_flat(normal_kl(truth.mean, truth.log_variance, p.mean, p.log_variance)) / math.log(2)",
        "return mean_flat(normal_kl(truth.mean, truth.log_variance, p.mean, p.log_variance))",
        "tests/diffusion/test_losses.py tests/diffusion/test_likelihood.py",
    ),
    Fault(
        "importance weights are missing",
        "diffusion/timesteps.py",
        "return t, (1 / (len(p) * p[t])).float()",
        "return t, torch.ones(count)",
        "tests/diffusion/test_timesteps.py",
    ),
    Fault(
        "the linear schedule does not scale with T",
        "diffusion/schedules.py",
        "scale = 1000 / num_timesteps",
        "scale = 1",
        "tests/diffusion/test_schedules.py",
    ),
    Fault(
        "ancestral sampling adds noise in its last step",
        "diffusion/samplers.py",
        "return _reverse_step(diffusion, t, p.mean, p.mean)",
        "return _reverse_step(diffusion, t, p.mean + torch.exp(0.5 * p.log_variance) * noise(), p.x0)",
        "tests/diffusion/test_samplers.py",
    ),
    Fault(
        "evenly spaced steps end below T - 1",
        "diffusion/timesteps.py",
        "return [num_timesteps - 1] if count == 1 else _section(0, num_timesteps, count)",
        'return _by_formula("leading", num_timesteps, count)',
        "tests/diffusion/test_timesteps.py tests/diffusion/test_samplers.py",
    ),
    Fault(
        "guidance shifts the mean by sigma, not by the variance",
        "diffusion/guidance.py",
        "p.mean + p.variance * gradient",
        "p.mean + p.variance.sqrt() * gradient",
        "tests/diffusion/test_guidance.py",
    ),
    Fault(
        "classifier-free guidance extrapolates the variance channels too",
        "diffusion/guidance.py",
        "torch.cat([eps_u + scale * (eps_c - eps_u), conditional[:, channels:]], dim=1)",
        "unconditional + scale * (conditional - unconditional)",
        "tests/diffusion/test_guidance.py",
    ),
    Fault(
        "the fast solver keeps the x_0 predicted from pure noise",
        "diffusion/samplers.py",
        "x0 if t < total - 2 else None",
        "x0 if t < total - 1 else None",
        "tests/diffusion/test_samplers.py",
    ),
    Fault(
        "all images of a batch share one generator",
        "sampling/generate.py",
        "noise = torch.stack([torch.randn(self.shape, generator=g) for g in self.generators])",
        "noise = torch.randn(len(self.generators), *self.shape, generator=self.generators[0])",
        "tests/sampling/test_generate.py",
    ),
    Fault(
        "the log variance of q is taken after the cast to float32",
        "diffusion/process.py",
        "self.gather(variance, t, x0), self.gather(log_variance, t, x0))",
        "self.gather(variance, t, x0), self.gather(variance, t, x0).log())",
        "tests/diffusion/test_process.py",
    ),
    Fault(
        "denoised_fn gets x_0 after clipping",
        "diffusion/process.py",
        "x0 = self.predict_x0(prediction, xt, t)",
        "x0 = self.predict_x0(prediction, xt, t).clamp(-1, 1)",
        "tests/diffusion/test_samplers.py",
    ),
    Fault(
        "classifier guidance of eps keeps the old mean",
        "diffusion/guidance.py",
        "p._replace(mean=diffusion.q_posterior(x0, xt, t).mean, x0=x0, eps=eps)",
        "p._replace(x0=x0, eps=eps)",
        "tests/diffusion/test_guidance.py",
    ),
    Fault(
        "the guided x_0 is solved from the shifted eps, which cancels digits",
        "diffusion/guidance.py",
        "x0 = p.x0 + diffusion.gather(of_x0, t, xt) * gradient",
        "x0 = diffusion.x0_from_eps(xt, t, p.eps - diffusion.gather(of_eps, t, xt) * gradient)",
        "tests/diffusion/test_guidance.py",
    ),
    Fault(
        "a step of the fast solver shows x_0 from before guidance",
        "diffusion/samplers.py",
        "return _reverse_step(diffusion, t, mean, x0)",
        "p0 = diffusion.p(call_model(model, diffusion, xt, t, **condition), xt, t, clip)\n"
        "    return _reverse_step(diffusion, t, mean, p0.x0)",
        "tests/diffusion/test_guidance.py",
    ),
    Fault(
        "the fast solver multiplies 0 by an infinite step where abar_T is 0",
        "diffusion/samplers.py",
        "decay = math.exp(-eta * h) if eta else 1.0",
        "decay = math.exp(-eta * h)",
        "tests/diffusion/test_samplers.py",
    ),
    Fault(
        "the small images of an upsampler stay on the CPU",
        "sampling/generate.py",
        "small = None if small is None else small.to(device)",
        "small = None if small is None else small",
        "tests/test_devices.py",
    ),
    Fault(
        "an upsampler takes the class indices of the other model",
        "sampling/generate.py",
        "return index.get(class_names[theirs], null_class)",
        "return theirs if index else None",
        "tests/sampling/test_guided_and_upscaled.py",
    ),
    Fault(
        "the upsampler is checked after the images are sampled",
        "sampling/image_writer.py",
        "check_upsampling(upscale_with.description, description.channels, description.image_size, request)",
        "pass",
        "tests/sampling/test_guided_and_upscaled.py",
    ),
    Fault(
        "the bound is measured on cropped images, whatever the training did",
        "evaluation/nll.py",
        "transform = reference.preparation.transform(description.image_size, description.channels)",
        "transform = data.ImageTransform(description.image_size, description.channels)",
        "tests/evaluation/test_evaluate.py",
    ),
    Fault(
        "the reference is scanned without the training's source of classes",
        "evaluation/reference.py",
        "report = data.scan(path, preparation.class_from)",
        "report = data.scan(path)",
        "tests/evaluation/test_evaluate.py",
    ),
    Fault(
        "the Frechet distance ignores the statistics of a reference batch",
        "evaluation/metrics.py",
        "stored = self.statistics.get(kind) if self.extractor.is_papers else None",
        "stored = None",
        "tests/evaluation/test_npz.py",
    ),
    Fault(
        "the covariance of features is divided by N",
        "evaluation/frechet.py",
        "torch.cov(features.T)",
        "torch.cov(features.T, correction=0)",
        "tests/evaluation/test_frechet.py",
    ),
    Fault(
        "a checkpoint forgets how its images were prepared",
        "training/initialize.py",
        "        fit=config.fit,\n",
        "",
        "tests/training/test_initialize.py",
    ),
    Fault(
        "seeds that torch takes for the same, and the second stage, repeat noise",
        "sampling/seeds.py",
        "if stage or not 0 <= seed < 2**32:",
        "if False:",
        "tests/sampling/test_seeds.py",
    ),
    Fault(
        "guidance acts at all timesteps by default",
        "sampling/request.py",
        "return min(low, high), high",
        "return 0, len(diffusion) - 1",
        "tests/sampling/test_request.py",
    ),
    Fault(
        "evaluation has an eta of its own",
        "cli/evaluation.py",
        "return Request(**given(parsed, fields_of(Request)))",
        "return Request(**{'eta': 0.0} | given(parsed, fields_of(Request)))",
        "tests/ui/sample/test_same_images.py",
    ),
    Fault(
        "weights that are not finite are saved",
        "training/trainer.py",
        "if not torch.stack([weight.detach().isfinite().all() for weight in self._weights]).all():",
        "if not self._weights:",
        "tests/training/test_ends.py::test_weights_that_are_not_finite_are_not_saved_over_good_ones",
    ),
    Fault(
        "the constant EMA decay begins after the first step",
        "training/trainer.py",
        '"update_after_step": -1',
        '"update_after_step": 0',
        "tests/training/test_averages.py",
    ),
    Fault(
        "weights of a step that was broken off are saved",
        "training/ending.py",
        "if trainer.in_update or trainer.save_failed:",
        "if trainer.save_failed:",
        "tests/training/test_ends.py::test_weights_of_a_step_that_was_broken_off_are_not_saved",
    ),
    Fault(
        "a signal does not end the training",
        "training/signals.py",
        "        stop.requested = True",
        "        stop.requested = False",
        "tests/training/test_ends.py::test_a_signal_at_any_moment_ends_with_all_steps_saved",
    ),
    Fault(
        "the threads of the prefetcher outlive the run",
        "training/prefetch.py",
        "self._pool.shutdown(wait=True, cancel_futures=True)",
        "pass",
        "tests/training/test_ends.py::test_the_threads_that_make_batches_ahead_end_with_the_run",
    ),
    Fault(
        "a resumed call keeps the event of the step after its checkpoint",
        "training/event_log.py",
        'e["step"] <= event["resumed_from"]',
        'e["step"] <= event["resumed_from"] + 5',
        "tests/training/test_status.py::test_what_a_later_start_supersedes_is_forgotten",
    ),
    Fault(
        "a resumed run holds out other images than before",
        "training/same_images.py",
        "report = report.with_held_out(frozenset(held_out))",
        "pass",
        "tests/training/test_same_images.py",
    ),
    Fault(
        "a run is resumed with other classes",
        "data/report.py",
        "return json.dumps([entry.digest, entry.class_name])",
        "return entry.digest",
        "tests/data/test_report.py",
    ),
    Fault(
        "a class is held out as a whole",
        "data/scan.py",
        "if all(e.held_out for e in group)}",
        "if not group}",
        "tests/data/test_scan.py",
    ),
    Fault(
        "the parts of a batch come in another order",
        "runtime/parallel.py",
        "futures.popleft()",
        "futures.pop()",
        "tests/runtime/test_parallel.py",
    ),
    Fault(
        "a file gets its name before it is on the disk",
        "atomic.py",
        "        flush(temporary)\n",
        "",
        "tests/training/test_run_folder.py",
    ),
    Fault(
        "one process alone obeys a command",
        "training/processes.py",
        "if self.count == 1:\n            return set(requests)",
        "return set(requests)",
        "tests/training/test_processes.py::test_a_signal_to_either_process_ends_both_and_all_is_saved",
    ),
]


def is_detected(fault: Fault) -> bool:
    """Return whether the tests fail on a copy of the project with this fault.

    Raises ValueError if the line to change is not in the file exactly once, and RuntimeError if the tests cannot run.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("diffusion_demo", "scripts", "tests", "checkpoints"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        file = copy / "diffusion_demo" / fault.file
        source = file.read_text(encoding="utf-8")
        if source.count(fault.right) != 1:
            raise ValueError(f"{fault.name}: {fault.file} must contain this line exactly once: {fault.right}")
        file.write_text(source.replace(fault.right, fault.wrong), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *fault.tests.split()]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{fault.name}: the tests did not run\n{done.stdout}{done.stderr}")
        return done.returncode == 1


def main() -> int:
    """Report every fault. Return 0 if the tests detect all of them, else 1."""
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(is_detected, FAULTS))
    for fault, detected in zip(FAULTS, results, strict=True):
        print("detected" if detected else "MISSED  ", fault.name)
    print(f"{sum(results)} of {len(FAULTS)} faults detected")
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
