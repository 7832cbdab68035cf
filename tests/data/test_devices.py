"""Arrays as tensors, threads and devices."""

import threading
import warnings

import joblib
import numpy as np
import pytest
import torch

from sklearn_vae._data.devices import isolated, process, resolve_device, to_tensor


@pytest.mark.parametrize("order", ["C", "F"])
def test_to_tensor_shares_memory_with_read_only_arrays(order):
    X = np.asarray(np.random.default_rng(0).normal(size=(5, 3)), order=order)
    X.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = to_tensor(X)
    assert tensor.data_ptr() == X.__array_interface__["data"][0]
    np.testing.assert_array_equal(tensor.numpy(), X)
    assert not X.flags.writeable


def test_to_tensor_shares_memory_with_memory_maps(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(4, 3))
    X = np.load(tmp_path / "x.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = to_tensor(X)
    assert tensor.data_ptr() == X.__array_interface__["data"][0]
    assert tensor.sum() == 66


def test_to_tensor_keeps_the_array_alive():
    def temporary():
        X = np.arange(100000.0)
        X.setflags(write=False)
        return to_tensor(X)

    tensor = temporary()
    np.full(100000, -1.0)
    assert torch.equal(tensor, torch.arange(100000.0, dtype=torch.float64))


def records(dtype):
    """Rows of a record array whose items start with one byte of another field."""
    array = np.zeros(4, dtype=[("id", "u1"), ("x", dtype, 3)])
    array["x"] = np.arange(12).reshape(4, 3)
    return array["x"]


UNREADABLE = {
    "one reversed row": lambda dtype: np.arange(12, dtype=dtype).reshape(4, 3)[::-1][:1],
    "one reversed column": lambda dtype: np.arange(4, dtype=dtype).reshape(4, 1)[:, ::-1],
    "reversed rows": lambda dtype: np.arange(12, dtype=dtype).reshape(4, 3)[::-1],
    "a row of records": lambda dtype: records(dtype)[:1],
    "rows of records": records,
    "not aligned": lambda dtype: np.frombuffer(b"-" + bytes(range(96)), dtype=dtype, count=12, offset=1).reshape(4, 3),
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("dtype", ["f8", "f4", "u1"])
def test_to_tensor_takes_any_strides(name, dtype):
    X = UNREADABLE[name](dtype)
    np.testing.assert_array_equal(to_tensor(X).numpy(), X)
    X.setflags(write=False)
    np.testing.assert_array_equal(to_tensor(X).numpy(), X)


# Threads


@pytest.mark.parametrize("n_jobs", [4, 20_000, 2**31, 10**20, np.int8(100)])
def test_number_of_threads_is_at_most_that_of_cores(n_jobs):
    assert process.n_threads(n_jobs) == min(int(n_jobs), joblib.cpu_count())
    with isolated(n_jobs):
        assert torch.get_num_threads() == min(int(n_jobs), joblib.cpu_count())


@pytest.mark.parametrize("n_jobs", [None, 1, -(10**6)])
def test_number_of_threads_is_at_least_one(n_jobs):
    assert process.n_threads(n_jobs) == 1


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_limit_threads_restores_the_number_of_threads():
    with process.limit_threads(1):
        assert torch.get_num_threads() == 1
        with process.limit_threads(3):
            assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_limit_threads_restores_the_outer_limit():
    with process.limit_threads(1):
        with process.limit_threads(3):
            pass
        assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt])
def test_limit_threads_restores_after_an_exception(exception):
    with pytest.raises(exception), process.limit_threads(1):
        raise exception
    assert torch.get_num_threads() == 2


def in_new_thread(function):
    values = []
    thread = threading.Thread(target=lambda: values.append(function()))
    thread.start()
    thread.join(10)
    return values[0]


def overlap():
    """Two threads enter one after the other and leave in the same order; return the settings that each sees."""
    entered, left = (threading.Event(), threading.Event()), threading.Event()
    seen = {}

    def first():
        with process.limit_threads(1):
            entered[0].set()
            entered[1].wait(10)
            seen["first"] = torch.get_num_threads()
        seen["first after"] = torch.get_num_threads()
        left.set()

    def second():
        entered[0].wait(10)
        with process.limit_threads(1):
            entered[1].set()
            left.wait(10)
            seen["second"] = torch.get_num_threads()
        seen["second after"] = torch.get_num_threads()

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return seen


@pytest.mark.usefixtures("two_threads")
def test_limit_threads_holds_when_another_thread_leaves():
    """This includes a new thread, because torch sets a thread's number of threads at its first operation."""
    seen = overlap()
    assert seen["first"] == 1 and seen["second"] == 1


@pytest.mark.usefixtures("two_threads")
def test_limit_threads_restores_after_threads_that_overlap():
    seen = overlap()
    assert seen["first after"] == 2 and seen["second after"] == 2
    assert torch.get_num_threads() == 2 and in_new_thread(torch.get_num_threads) == 2


def test_resolve_device_takes_names_and_devices():
    cpu = torch.device("cpu")
    assert resolve_device("cpu") == resolve_device(cpu) == cpu
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
