"""Threads, devices, and arrays as tensors on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def to_tensor(X: np.ndarray) -> Tensor:
    """Share an array's memory with a tensor, without torch's warning on read-only arrays."""
    if not X.flags.writeable:
        X = np.asarray(_Writeable(X))
    return torch.from_numpy(X)


class _Writeable:
    """An array that says it may be written to; joblib's memory maps may not, and never are."""

    def __init__(self, X: np.ndarray):
        self.base = X
        self.__array_interface__ = {**X.__array_interface__, "data": (X.__array_interface__["data"][0], False)}


class _Threads:
    """torch's number of threads, set for the time of a call.

    torch keeps one number per thread, and one for threads that start later. The first
    call that runs remembers the latter, and every outermost call restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._local = threading.local()
        self._active = 0
        self._before = 1

    @contextmanager
    def limit(self, n_threads: int) -> Iterator[None]:
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


limit_threads = _Threads().limit


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
