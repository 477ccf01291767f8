"""A second device that computes on the CPU, so that a machine without a GPU finds tensors on the wrong device.

A tensor on "other" refuses to be combined with one on the CPU where a GPU would refuse, too, and to be float64, which
MPS does not have. `counted()` counts what a GPU would wait for: copies between the devices, and synchronizations, at
which Python waits for the device's queue. Under bf16 autocast, convolutions and products are computed in bf16, and
norms, softmax and losses in float32, as under that of CUDA.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend


class Backend(_DummyBackendModule):
    """What torch.autocast asks of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Return the dtypes of autocast."""
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("other", Backend())
OTHER, CPU = torch.device("other", 0), torch.device("cpu")
aten: Any = torch.ops.aten

# A GPU's answer to these goes back to Python: their result, or its shape, depends on the values.
WAITING = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.repeat_interleave.Tensor,
    aten._linalg_eigh.default,
    aten._linalg_svd.default,
}
# Indices on the CPU are copied to the device of the tensor that they index.
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class MixedDevices(RuntimeError):
    """Tensors of two devices in one operation."""


@dataclass
class Counts:
    """Copies between the devices and synchronizations, each by the name of its operation."""

    copies: list[str] = field(default_factory=list)
    synchronizations: list[str] = field(default_factory=list)


_lock = threading.Lock()
_open: list[Counts] = []


@contextmanager
def counted() -> Iterator[Counts]:
    """Count the copies and synchronizations of every thread inside the context."""
    counts = Counts()
    with _lock:
        _open.append(counts)
    try:
        yield counts
    finally:
        with _lock:
            _open.remove(counts)


def _count(copies: str | None = None, synchronizations: str | None = None) -> None:
    with _lock:
        for counts in _open:
            counts.copies += [copies] if copies else []
            counts.synchronizations += [synchronizations] if synchronizations else []


@contextmanager
def training_on(device: torch.device) -> Iterator[None]:
    """Make the Accelerator created inside use the device; a module that moves there keeps its Parameter objects."""
    AcceleratorState._reset_state()
    state, swaps = PartialState(cpu=True), torch.__future__.get_swap_module_params_on_conversion()
    before, state.device = state.device, device
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)
        state.device = before
        AcceleratorState._reset_state()


class OtherTensor(torch.Tensor):
    """A tensor on the device "other"; `held` is the CPU tensor with its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        if held.dtype == torch.float64:
            raise TypeError(f"{OTHER.type} has no float64, as MPS has none; convert the tensor to float32 first")
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=OTHER,
        )
        tensor.held = held
        return tensor

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"OtherTensor({self.held})"

    def __format__(self, format_spec):
        """Format a tensor without axes as its number; torch refuses it for subclasses."""
        return format(self.item() if not self.ndim else repr(self), format_spec)

    def tolist(self):
        """Copy to the CPU, as on a GPU; torch refuses it for subclasses."""
        return self.cpu().tolist()

    def untyped_storage(self):
        """Return the storage of the values, whose address and size safetensors compares before it copies them."""
        return self.held.untyped_storage()

    def numpy(self, *, force=False):
        """Refuse, as on a GPU."""
        raise TypeError(f"can't convert {OTHER} device type tensor to numpy. Use Tensor.cpu() first.")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operation on the CPU tensors that its arguments hold, and return its result on the device it has."""
    tensors = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    target = _target(func, args, kwargs, tensors)
    if func in WAITING:
        _count(synchronizations=func.__name__)
    held_args, held_kwargs = pytree.tree_map_only(OtherTensor, lambda each: each.held, (args, kwargs))
    if kwargs.get("device") is not None:
        held_kwargs["device"] = CPU
    result = func(*held_args, **held_kwargs)
    mutated = _mutated(func, args, kwargs)
    if mutated is not None:
        return mutated
    return pytree.tree_map_only(torch.Tensor, OtherTensor, result) if target == OTHER else result


def _target(func: Any, args: tuple, kwargs: dict, tensors: list[torch.Tensor]) -> torch.device:
    """Return the device of the result, after counting a copy. Raises MixedDevices."""
    given = kwargs.get("device")
    if func is aten.copy_.default:
        target, source = args[:2]
        _count_copy(func, source.device, target.device, kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        return target.device
    if func is aten._to_copy.default:
        target = given or args[0].device
        _count_copy(func, args[0].device, target, kwargs.get("non_blocking", False))
        return target
    if func in INDEXING:
        _count_indices(func, args)
        return args[0].device
    # A CPU tensor without axes counts as a number.
    devices = {each.device for each in tensors if each.ndim or each.device != CPU}
    if len(devices) > 1:
        shapes = [f"{list(each.shape)} on {each.device.type}" for each in tensors]
        few = ", ".join([*shapes[:3], "...", shapes[-1]] if len(shapes) > 4 else shapes)
        raise MixedDevices(f"{func} expects all tensors on one device, but got {few}")
    return given or next(iter(devices), CPU)


def _count_copy(func: Any, source: torch.device, target: torch.device, non_blocking: bool) -> None:
    if source.type != target.type:
        name = f"{source.type} to {target.type}"
        _count(copies=name, synchronizations=None if non_blocking else f"blocking copy {name}")


def _count_indices(func: Any, args: tuple) -> None:
    indexed, *rest = (each for each in pytree.tree_leaves(args) if isinstance(each, torch.Tensor))
    indices = [each for each in pytree.tree_leaves(args[1]) if isinstance(each, torch.Tensor)]
    if any(each.device.type != "cpu" for each in rest) and indexed.device == CPU:
        raise MixedDevices(f"{func} indexes a tensor on the CPU by one on {OTHER.type}")
    for index in indices:
        if index.device != indexed.device:
            _count(copies="cpu to other", synchronizations="blocking copy cpu to other")
        if index.dtype in (torch.bool, torch.uint8) and indexed.device != CPU:
            _count(synchronizations="boolean index")


def _mutated(func: Any, args: tuple, kwargs: dict) -> Any:
    """Return the argument that an in-place operation returns, or None for any other operation."""
    schema = func._schema
    if not schema.returns or schema.returns[0].alias_info is None or not schema.returns[0].alias_info.is_write:
        return None
    returned = []
    for each in schema.returns:
        for i, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.before_set & each.alias_info.before_set:
                returned.append(args[i] if i < len(args) else kwargs[argument.name])
                break
    for each in pytree.tree_leaves(returned):
        if isinstance(each, OtherTensor) and each.shape != each.held.shape:
            raise NotImplementedError(f"{func} gives a tensor on {OTHER.type} another shape; register it below")
    return returned[0] if len(returned) == 1 else tuple(returned)


def _register(name: str) -> None:
    """Register an operation for calls that do not reach __torch_dispatch__: factories, and torch.tensor's copy."""
    func = getattr(getattr(aten, name.partition(".")[0]), name.partition(".")[2] or "default")
    _library.impl(name, lambda *args, **kwargs: _run(func, args, kwargs), "PrivateUse1")


_library = torch.library.Library("aten", "IMPL")
for _name in (
    *("empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step", "linspace"),
    *("copy_", "_copy_from", "detach", "_to_copy"),
):
    _register(_name)


def _register_autocast(name: str, dtype: torch.dtype) -> None:
    """Make an operation cast its arguments under autocast: torch leaves that to the device's own backend."""
    func = getattr(getattr(aten, name.partition(".")[0]), name.partition(".")[2] or "default")
    without = torch._C.DispatchKeySet(torch._C._dispatch_key_parse("AutocastPrivateUse1"))

    def cast(each: torch.Tensor) -> torch.Tensor:
        return each.to(dtype) if each.is_floating_point() and each.device == OTHER else each

    def run(*args, **kwargs):
        with torch._C._ExcludeDispatchKeyGuard(without):
            args, kwargs = pytree.tree_map_only(torch.Tensor, cast, (args, kwargs))
            return func(*args, **kwargs)

    _library.impl(name, run, "AutocastPrivateUse1")


_fallback = torch.library.Library("_", "IMPL")
_fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
for _name in ("conv2d", "linear", "matmul", "bmm", "baddbmm", "addmm", "mm", "scaled_dot_product_attention"):
    _register_autocast(_name, torch.bfloat16)
for _name in ("group_norm", "layer_norm", "softmax.int", "log_softmax.int", "mse_loss"):
    _register_autocast(_name, torch.float32)
