"""Tensors and devices, and the process-wide settings of a call: threads, torch's modes, forks."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import torch
from joblib import cpu_count, effective_n_jobs
from sklearn import config_context, get_config
from threadpoolctl import threadpool_limits
from torch import Tensor

Method = TypeVar("Method", bound=Callable[..., Any])

# Explicit dtypes for functions that create tensors, because torch's default dtype belongs to the user. The default
# device needs no such argument: `isolated` sets it to the CPU.
FLOAT32: dict[str, Any] = {"dtype": torch.float32}
FLOAT64: dict[str, Any] = {"dtype": torch.float64}
# Device types whose autocast `isolated` turns off.
AUTOCAST = ("cpu", "cuda")
# Matches torch's errors for exhausted memory and for sizes that exceed any memory.
OUT_OF_MEMORY = re.compile(r"tried to allocate ([\d.]+ \w+)|storage size calculation (overflowed)", re.IGNORECASE)


def to_tensor(X: np.ndarray) -> Tensor:
    """Return a tensor that shares an array's memory, without torch's warning about read-only arrays.

    An array that torch cannot read is copied. Such an array is not aligned, or it has a stride that is negative or not
    a multiple of the item size (a reversed view, a field of records). numpy calls even such an array contiguous if it
    has one row or column, so the strides themselves are checked.
    """
    if not X.flags.aligned or any(stride < 0 or stride % X.itemsize for stride in X.strides):
        X = X.copy()
    if not X.flags.writeable:
        X = np.asarray(_Writeable(X))
    return torch.from_numpy(X)


class _Writeable:
    """An array that claims to be writeable, although it is read-only (a joblib memory map). Nothing writes to it."""

    def __init__(self, X: np.ndarray):
        self.base = X
        self.__array_interface__ = {**X.__array_interface__, "data": (X.__array_interface__["data"][0], False)}


class _Process:
    """Thread counts and locks of this process.

    torch keeps a thread count for each thread, and one for threads that start later. When no other call is active, a
    call stores the latter count. Every outermost call restores it at its end.

    A forked child process continues only the thread that forked. It has no thread pools, and locks that other threads
    held would stay locked. The child therefore gets new locks, and computes with one thread.

    Attributes
    ----------
    is_forked : bool
        Whether this process was forked after the package was imported.
    generator_lock : Lock
        A thread holds it while it uses torch's global generator.
    """

    def __init__(self) -> None:
        self.is_forked = False
        self.generator_lock = threading.Lock()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._active = 0
        self._before = 1
        # Windows cannot fork, and lacks this function.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_child)

    def n_threads(self, n_jobs: int | None) -> int:
        """Return the number of threads for `n_jobs`, at most one per core."""
        n = 1 if self.is_forked else effective_n_jobs(n_jobs)
        # Counting cores takes as long as transforming a row, so it is skipped for one thread.
        return min(int(n), cpu_count()) if n > 1 else 1

    @contextmanager
    def limit_threads(self, n_threads: int) -> Iterator[None]:
        """Use `n_threads` in this thread; other threads keep their own number."""
        with self._lock:
            # The getter also initialises torch in this thread. A later initialisation would undo the number set here.
            outer = torch.get_num_threads()
            nested = getattr(self._local, "nested", False)
            if self._active == 0:
                self._before = outer
            self._active += 1
            self._local.nested = True
            torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1
                self._local.nested = nested
                torch.get_num_threads()
                torch.set_num_threads(outer if nested else self._before)

    def _begin_child(self) -> None:
        self.is_forked = True
        self.generator_lock = threading.Lock()
        self._lock = threading.Lock()
        self._active = int(getattr(self._local, "nested", False))


process = _Process()


@contextmanager
def seeded_global_generator(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global generator from `generator` within the block, in one thread at a time."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    devices = [generator.device] if generator.device.type == "cuda" else []
    with process.generator_lock, torch.random.fork_rng(devices=devices):
        torch.random.default_generator.manual_seed(seed)
        if devices:  # pragma: no cover (needs a GPU)
            torch.cuda.manual_seed(seed)
        yield


@contextmanager
def isolated(n_jobs: int | None = 1) -> Iterator[None]:
    """Run a block under the package's settings; restore the caller's, even after an error or an interrupt.

    The number of threads follows from `n_jobs`. Gradients are on. Inference mode, autocast, a default device and
    scikit-learn's array API dispatch are off. torch's default dtype is shared by all threads, so it stays as it is:
    the package names the dtype of every tensor that it creates.

    Raises
    ------
    MemoryError
        If torch runs out of memory.
    """
    try:
        # This also restores the gradient mode if an interrupt kept an inner context from restoring it.
        with torch.inference_mode(False), process.limit_threads(process.n_threads(n_jobs)), _without_modes():
            yield
    except Exception as error:
        # A check of a network or of a file may have wrapped the error in its own.
        found = next(filter(None, (OUT_OF_MEMORY.search(str(e)) for e in (error, error.__cause__) if e)), None)
        if found is None:
            raise
        raise MemoryError(
            f"expected enough memory for this call, but {found[1] or 'more than any memory holds'} could not be "
            "allocated in one piece; use fewer rows or draws per call, a smaller batch_size or narrower layers."
        ) from error


def isolate(method: Method) -> Method:
    """Decorate an estimator's method to run within `isolated`, with the estimator's `n_jobs`."""

    @wraps(method)
    def call(self, *args, **kwargs):
        """Call the method within `isolated`."""
        with isolated(self.n_jobs):
            return method(self, *args, **kwargs)

    return cast(Method, call)


def _without_modes() -> ExitStack:
    """Return a context that turns off the modes that are on. It is fast in the usual case that none is on."""
    stack = ExitStack()
    for device_type in AUTOCAST:
        if torch.is_autocast_enabled(device_type):
            stack.enter_context(torch.autocast(device_type, enabled=False))
    # The device of a new tensor is found many times faster than by `torch.get_default_device`.
    if torch.empty(0).device.type != "cpu":
        stack.enter_context(torch.device("cpu"))
    if get_config()["array_api_dispatch"]:
        stack.enter_context(config_context(array_api_dispatch=False))
    if process.is_forked:
        stack.enter_context(threadpool_limits(1, user_api="openmp"))
    return stack


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device for a name. "auto" is a CUDA device if there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"expected device to be 'auto' or a device of this machine, got {str(device)!r}; use 'auto'."
        ) from error
    return torch.device(device)
