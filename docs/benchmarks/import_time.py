"""CPU time of importing sklearn_vae, compared with scikit-learn, torch and skorch.

Each statement runs in new processes, and the statements take turns, so that other load on the machine affects all of
them. The measure is the user and system CPU time of the whole process, minus that of a process that imports nothing.
The script also lists the modules that sklearn_vae imports beyond those of its requirements, by cumulative time
(``python -X importtime``).
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys

import numpy as np

REQUIREMENTS = "import sklearn, torch, skorch"
# Measured within one process, because differences between processes are noisy.
ADDED = (
    f"from time import process_time; {REQUIREMENTS}; t = process_time(); import sklearn_vae; print(process_time() - t)"
)
STATEMENTS = {
    "nothing": "pass",
    "scikit-learn, torch": "import sklearn, torch",
    "scikit-learn, torch, skorch": REQUIREMENTS,
    "these and sklearn_vae": f"{REQUIREMENTS}; import sklearn_vae",
    "sklearn_vae": "import sklearn_vae",
}


def cpu_seconds(statement: str) -> float:
    """Run a statement in a new process; return its user and system CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(n_rounds: int) -> dict[str, np.ndarray]:
    """Return the seconds of each statement minus the median for "nothing", after a round that fills the disk caches."""
    seconds = np.array([[cpu_seconds(statement) for statement in STATEMENTS.values()] for _ in range(n_rounds + 1)])[1:]
    seconds -= np.median(seconds[:, 0])
    return dict(zip(STATEMENTS, seconds.T, strict=True))


def added_seconds() -> float:
    """Return the CPU seconds of the import in a new process that has already imported the requirements."""
    return float(subprocess.run([sys.executable, "-c", ADDED], check=True, capture_output=True).stdout)


def added_modules() -> list[tuple[float, str]]:
    """Return milliseconds and names of the modules that sklearn_vae adds.

    The time of another package's module includes its own imports. That of a module of sklearn_vae does not.
    """
    command = [sys.executable, "-X", "importtime", "-c", f"{REQUIREMENTS}; import sklearn_vae"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    entries = [line.removeprefix("import time:").split("|") for line in lines if line.count("|") == 2]
    parsed = [(own, total, (len(name) - len(name.lstrip())) // 2, name.strip()) for own, total, name in entries]
    last = max(i for i, (*_, name) in enumerate(parsed) if name == "skorch")
    added, foreign_depth = [], None
    # A module is listed after its imports. In reverse order, the importing module comes first.
    for own, total, depth, name in reversed(parsed[last + 1 :]):
        if foreign_depth is not None and depth > foreign_depth:
            continue
        is_own = name.split(".")[0] == "sklearn_vae"
        foreign_depth = None if is_own else depth
        added.append((int(own if is_own else total) / 1000, name))
    return sorted(added, reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="number of processes per statement")
    parser.add_argument("--modules", type=int, default=12, help="number of added modules to print")
    parser.add_argument("--quick", action="store_true", help="one process per statement, to test the script")
    options = parser.parse_args()
    options.rounds = 1 if options.quick else options.rounds
    seconds = measure(options.rounds)
    print(f"CPU seconds, {options.rounds} processes each; {platform.machine()}, Python {platform.python_version()}")
    print(f"{'import':<30} {'median':>7} {'quartiles':>15}")
    for name, values in seconds.items():
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        print(f"{name:<30} {middle:7.3f} {low:7.3f} {high:7.3f}")
    low, added, high = np.quantile([added_seconds() for _ in range(options.rounds)], [0.25, 0.5, 0.75])
    share = added / np.median(seconds["scikit-learn, torch, skorch"])
    print(f"\nafter its requirements, sklearn_vae takes {added:.3f} s ({low:.3f} to {high:.3f}), {share:.1%} of theirs")
    print("\nmilliseconds of the modules it adds: others with all they import, its own without")
    for milliseconds, name in added_modules()[: options.modules]:
        print(f"{milliseconds:8.1f}  {name}")


if __name__ == "__main__":
    main()
