"""Arrays as tensors, devices, and the process around a call: threads, torch's settings, forks."""

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

# Arguments of functions that make tensors: torch's default dtype is the user's. `isolated` sets the default device.
FLOAT32: dict[str, Any] = {"dtype": torch.float32}
FLOAT64: dict[str, Any] = {"dtype": torch.float64}
# Kinds of devices whose autocast is turned off.
AUTOCAST = ("cpu", "cuda")
# What torch says when memory runs out, or when a size is larger than any memory.
OUT_OF_MEMORY = re.compile(r"tried to allocate ([\d.]+ \w+)|storage size calculation (overflowed)", re.IGNORECASE)


def to_tensor(X: np.ndarray) -> Tensor:
    """Share an array's memory with a tensor, without torch's warning on read-only arrays.

    Arrays that torch cannot read are copied: their strides are negative or no multiples of the item's size (a
    reversed view, a field of records), or they are not aligned. One row or column of these counts as contiguous.
    """
    if not X.flags.aligned or any(stride < 0 or stride % X.itemsize for stride in X.strides):
        X = X.copy()
    if not X.flags.writeable:
        X = np.asarray(_Writeable(X))
    return torch.from_numpy(X)


class _Writeable:
    """An array that says it may be written to; joblib's memory maps may not, and never are."""

    def __init__(self, X: np.ndarray):
        self.base = X
        self.__array_interface__ = {**X.__array_interface__, "data": (X.__array_interface__["data"][0], False)}


class _Process:
    """Locks and threads of this process.

    torch keeps one number of threads per thread, and one for threads that start later. The first
    call that runs remembers the latter, and every outermost call restores it.

    In a forked child only the thread that forked goes on. Pools of threads are lost there, and locks that other
    threads held would stay locked: the child gets new locks, and computes with one thread.

    Attributes
    ----------
    is_forked : bool
        Whether this process was forked after the package was imported.
    generator_lock : Lock
        Held by the thread that uses torch's global generator.
    """

    def __init__(self) -> None:
        self.is_forked = False
        self.generator_lock = threading.Lock()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._active = 0
        self._before = 1
        # Not on Windows, where nothing forks.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_child)

    def n_threads(self, n_jobs: int | None) -> int:
        """Return the number of threads that `n_jobs` stands for, at most one per core."""
        n = 1 if self.is_forked else effective_n_jobs(n_jobs)
        # Counting the cores takes as long as embedding a row.
        return min(int(n), cpu_count()) if n > 1 else 1

    @contextmanager
    def limit_threads(self, n_threads: int) -> Iterator[None]:
        """Use `n_threads` in this thread; others that compute at the same time keep theirs."""
        with self._lock:
            # Asking also makes torch initialise this thread, which would undo a number set before.
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
    """Seed torch's global generator from `generator` for a moment, one thread at a time."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    devices = [generator.device] if generator.device.type == "cuda" else []
    with process.generator_lock, torch.random.fork_rng(devices=devices):
        torch.random.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield


@contextmanager
def isolated(n_jobs: int | None = 1) -> Iterator[None]:
    """Compute under settings of our own, and put back what the caller has set, also after an error or an interrupt.

    The number of threads is that of `n_jobs`. Gradients are on; inference mode, autocast, a default device and
    scikit-learn's array API dispatch are off. torch's default dtype is one of the whole process: it stays as it is,
    and the package names the dtype of every tensor that it makes.

    Raises
    ------
    MemoryError
        If torch runs out of memory.
    """
    try:
        # Restores the mode of gradients, too, where an interrupt has kept an inner context from doing so.
        with torch.inference_mode(False), process.limit_threads(process.n_threads(n_jobs)), _without_modes():
            yield
    except Exception as error:
        # A check of a network or of a file may have made its own error of it.
        found = next(filter(None, (OUT_OF_MEMORY.search(str(e)) for e in (error, error.__cause__) if e)), None)
        if found is None:
            raise
        raise MemoryError(
            f"expected memory for all that is asked for, but {found[1] or 'more than there can be'} could not be "
            "allocated in one piece; use fewer rows or draws per call, a smaller batch_size or narrower layers."
        ) from error


def isolate(method: Method) -> Method:
    """Make an estimator's method run in `isolated`, with the threads of its `n_jobs`."""

    @wraps(method)
    def call(self, *args, **kwargs):
        with isolated(self.n_jobs):
            return method(self, *args, **kwargs)

    return cast(Method, call)


def _without_modes() -> ExitStack:
    """Return a context without what is not often set; only then it costs time."""
    stack = ExitStack()
    for device_type in AUTOCAST:
        if torch.is_autocast_enabled(device_type):
            stack.enter_context(torch.autocast(device_type, enabled=False))
    # `torch.get_default_device` takes many times as long.
    if torch.empty(0).device.type != "cpu":
        stack.enter_context(torch.device("cpu"))
    if get_config()["array_api_dispatch"]:
        stack.enter_context(config_context(array_api_dispatch=False))
    if process.is_forked:
        stack.enter_context(threadpool_limits(1, user_api="openmp"))
    return stack


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device that a name stands for: "auto" is a CUDA device where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"expected device to be 'auto' or a device of this machine, got {str(device)!r}; use 'auto'."
        ) from error
    return torch.device(device)
