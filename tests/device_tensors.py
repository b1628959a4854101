"""Tensors of the device ``sim:0``, which is simulated on the CPU and computes real numbers.

torch's PrivateUse1 with a backend in Python. Autograd, autocast, seeds and optimizers treat it as any accelerator: an
operator that gets tensors of two devices raises as it does on CUDA, and everything that would make the host wait for a
GPU is counted: values that are read, sizes that depend on values, copies that block. Importing this module registers the device
for the whole process, so it is for a process of its own. `accelerator` is what tests use.
"""

import contextlib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

# Operators whose GPU kernels return a value, or the size of their result, to the host.
READS = {
    f"aten.{name}"
    for name in (
        "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount",
        "equal", "is_nonzero", "repeat_interleave", "histc",
    )
}  # fmt: skip
INDEXING = {"aten.index", "aten.index_put", "aten.index_put_", "aten._index_put_impl_", "aten._unsafe_index"}
# What torch.autocast computes in the lower precision and in float32 on CUDA (aten/src/ATen/autocast_mode.h).
LOWER = ("addmm", "matmul", "mm", "mv", "linear", "addbmm", "baddbmm", "bmm", "scaled_dot_product_attention")
FLOAT32 = (
    "exp", "log", "log1p", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "rsqrt", "softplus", "layer_norm",
    "native_layer_norm", "nll_loss", "kl_div", "mse_loss", "prod", "cumsum", "sum", "sum.dim_IntList", "logsumexp",
    "softmax.int", "log_softmax.int", "cross_entropy_loss",
)  # fmt: skip


class Backend:
    """What torch expects of ``torch.sim``; its random numbers are those of the CPU."""

    is_available = is_initialized = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    set_device = synchronize = staticmethod(lambda *_: None)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed = manual_seed_all = staticmethod(lambda seed: torch.default_generator.manual_seed(int(seed)))
    get_rng_state = staticmethod(lambda *_: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, *_: torch.set_rng_state(state))
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    get_device_name = staticmethod(lambda *_: "simulated accelerator")
    free_memory = 1 << 30
    mem_get_info = classmethod(lambda cls, *_: (cls.free_memory, 1 << 40))  # type: ignore[var-annotated]


_setup_privateuseone_for_python_backend("sim", backend_module=Backend())  # type: ignore[no-untyped-call]
DEVICE = torch.device("sim", 0)
_LIBRARIES: list[torch.library.Library] = []  # torch drops the registrations of a deleted one


def _casting(operator: Any, dtype: torch.dtype | None) -> Callable[..., Any]:
    """An operator that casts its arguments first; to autocast's own type if ``dtype`` is ``None``."""
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def run(*args: Any, **kwargs: Any) -> Any:
        to = dtype or torch.get_autocast_dtype("sim")

        def cast(x: Any) -> Any:
            is_float = isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64
            return x.to(to) if is_float else x

        with torch._C._ExcludeDispatchKeyGuard(key):
            return operator(*tree_map(cast, args), **tree_map(cast, kwargs))

    return run


def _register_autocast() -> None:
    _LIBRARIES.extend([torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")])
    _LIBRARIES[0].fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for names, dtype in ((LOWER, None), (FLOAT32, torch.float32)):
        for name in names:
            packet, _, overload = name.partition(".")
            operator = getattr(getattr(torch.ops.aten, packet), overload or "default")
            _LIBRARIES[1].impl(name, _casting(operator, dtype), "AutocastPrivateUse1")


_register_autocast()


class DeviceTensor(Tensor):
    """A tensor of the device; ``raw`` is the CPU tensor that holds its numbers."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> "DeviceTensor":
        self: DeviceTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, raw.size(), strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype, device=DEVICE
        )
        if raw.dtype == torch.float64 and Simulation.current is not None and not Simulation.current.has_float64:
            raise TypeError("Cannot convert a tensor of the device to float64, which it does not have.")
        self.raw = raw
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert Simulation.current is not None, f"{func} on the device, which is no longer there"
        return Simulation.current.run(func, args, kwargs or {})

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refused: another process, or machine, would get it on this device, if it has one."""
        raise TypeError("A tensor of the device is to be pickled. Copy it to the host (`to_host`).")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            with torch.no_grad():
                new: Any = DeviceTensor(self.raw.detach().clone())
            is_parameter = getattr(self, "_is_param", False)
            new = nn.Parameter(new, self.requires_grad) if is_parameter else new.requires_grad_(self.requires_grad)
            memo[id(self)] = new
        return memo[id(self)]

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"sim({self.raw!r})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else repr(self)

    def tolist(self) -> Any:
        """A list, copied through the CPU."""
        return self.cpu().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        """Refused, as on any accelerator."""
        raise TypeError("can't convert sim:0 device type tensor to numpy. Use Tensor.cpu() first.")


class Simulation(TorchDispatchMode):
    """Runs the operators of the device, and counts what would wait for it.

    Attributes:
        phases: How often each phase was begun.
        waits: How often the host waited, by phase, operator and the place in this project that asked for it.
        has_float64: Whether the device has float64, which MPS has not.
        operators: How many operators other than views ran on the device, copies to it included, by phase.
        sent: Bytes that were copied to the device, by phase.
    """

    current: "Simulation | None" = None

    def __init__(self) -> None:
        super().__init__()
        self.phases: Counter[str] = Counter()
        self._phase = ""
        self.waits: Counter[tuple[str, str, str]] = Counter()
        self.has_float64 = True
        self.operators: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()

    def begin(self, phase: str) -> None:
        """Name the current phase, by which waits are counted."""
        self._phase = phase
        self.phases[phase] += 1

    def clear(self) -> None:
        """Forget all counts."""
        for counter in (self.phases, self.waits, self.operators, self.sent):
            counter.clear()

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Name a phase within the current one."""
        before = self._phase
        self.begin(phase)
        try:
            yield
        finally:
            self._phase = before

    def synchronize(self, *_: Any) -> None:
        """Wait for all that the device has begun."""
        self._wait("synchronize")

    def __enter__(self) -> "Simulation":
        Simulation.current = self
        # torch.tensor(..., device="sim") is made on the CPU and copied, as it is for CUDA
        self._lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        Simulation.current = None
        torch._C._set_only_lift_cpu_tensors(self._lifted)
        super().__exit__(*error)

    def _wait(self, name: str) -> None:
        ours = [f"{f.name} ({f.filename.rsplit('/', 1)[-1]})" for f in traceback.extract_stack()
                if "/glue_lit/" in f.filename]  # fmt: skip
        self.waits[self._phase, name, ours[-1] if ours else ""] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operator, on the device if one of its tensors or its result is there."""
        name = str(func).rsplit(".", 1)[0]
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        ours = [x for x in tensors if isinstance(x, DeviceTensor)]
        device = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
        if not ours and device != "sim":
            return func(*args, **kwargs)
        composite = torch._C.DispatchKey.CompositeImplicitAutograd
        if torch.is_inference_mode_enabled() and func.has_kernel_for_dispatch_key(composite):
            _push_mode(self)  # without autograd's keys, torch has not decomposed it yet
            try:
                return func.decompose(*args, **kwargs)
            finally:
                _pop_mode()
        if not func.is_view:
            self.operators[self._phase] += 1
        if name in ("aten._to_copy", "aten.copy_"):
            return self._copy(func, name, args, kwargs, device)
        self._check(func, name, args, kwargs, tensors, ours)
        return self._compute(func, name, args, kwargs, ours, device)

    def _check(self, func: Any, name: str, args: Any, kwargs: Any, tensors: list[Any], ours: list[Any]) -> None:
        """Raise where CUDA would, and count where it would wait."""
        others = [x for x in tensors if not isinstance(x, DeviceTensor) and x.dim() > 0] if ours else []
        indices = [x for x in args[1] if isinstance(x, Tensor)] if name in INDEXING else []
        if astray := [tuple(x.shape) for x in others if not any(x is index for index in indices)]:
            raise RuntimeError(f"Expected all tensors to be on the same device: {func} has {astray} on the processor")
        has_size = kwargs.get("output_size") is not None  # of repeat_interleave
        if (name in READS and not has_size) or others or any(x.dtype == torch.bool for x in indices):
            self._wait(name)

    def _compute(self, func: Any, name: str, args: Any, kwargs: Any, ours: list[Any], device: str | None) -> Any:
        def unwrapped(x: Any) -> Any:
            is_device = isinstance(x, torch.device) and x.type == "sim"
            return x.raw if isinstance(x, DeviceTensor) else torch.device("cpu") if is_device else x

        options = {key: tree_map(unwrapped, value) for key, value in kwargs.items()}
        options |= {"device": torch.device("cpu")} if device == "sim" else {}
        options |= {"pin_memory": False} if "pin_memory" in options else {}
        found = func(*tree_map(unwrapped, args), **options)
        if name == "aten._local_scalar_dense":
            return found
        if kwargs.get("pin_memory") and device == "cpu":
            found.is_pinned_here = True
        known = {id(x.raw): x for x in ours}

        def wrapped(x: Any) -> Any:
            if not isinstance(x, Tensor) or isinstance(x, DeviceTensor) or (device == "cpu" and ours):
                return x
            return known[id(x)] if id(x) in known else DeviceTensor(x)

        is_view = func.is_view and torch.is_inference_mode_enabled() and not all(x.is_inference() for x in ours)
        with (
            torch.inference_mode(False) if is_view else contextlib.nullcontext()
        ):  # a view of a normal tensor is normal
            return tree_map(wrapped, found)

    def _copy(self, func: Any, name: str, args: Any, kwargs: Any, device: str | None) -> Any:
        """Copy within the device, to it, or from it."""
        source = args[1] if name == "aten.copy_" else args[0]
        raw = source.raw if isinstance(source, DeviceTensor) else source
        if name == "aten.copy_":
            into, without_waiting = args[0], len(args) > 2 and args[2]
            (into.raw if isinstance(into, DeviceTensor) else into).copy_(raw)
            result, to_device = into, isinstance(into, DeviceTensor)
        else:
            without_waiting = kwargs.get("non_blocking", False)
            to_device = (device or source.device.type) == "sim"
            result = func(raw, *args[1:], **{k: v for k, v in kwargs.items() if k not in ("device", "pin_memory")})
            result = DeviceTensor(result) if to_device else result
        host = source if to_device else result
        is_pinned = without_waiting and getattr(host, "is_pinned_here", False)
        if to_device and not isinstance(source, DeviceTensor):
            self.sent[self._phase] += source.nbytes
        if isinstance(source, DeviceTensor) != to_device and not is_pinned:
            self._wait("copy to the device" if to_device else "copy to the processor")
        return result
