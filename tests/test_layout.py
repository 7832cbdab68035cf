"""The layers of the package: imports point down, and component families do not import each other."""

import ast
from pathlib import Path

import pytest

import sklearn_vae

ROOT = Path(sklearn_vae.__file__).parent
FLOORS = [
    {"_version", "_capabilities"},
    {"_data"},
    {"likelihoods", "priors", "networks", "objectives"},
    {"_model"},
    {"_training"},
    {"_semi_supervised"},
    {"_validation", "_image_flattener", "_labelled_kfold"},
    {"_base"},
    {"_latent", "_unsupervised"},
    {"_transformer", "_classifier", "_imputer"},
    {"_outliers", "_oversampler", "_steps"},
    {"displays"},
    {"__init__"},
]
FAMILIES = FLOORS[2]
FLOOR = {part: i for i, parts in enumerate(FLOORS) for part in parts}
FILES = sorted(ROOT.rglob("*.py"))


def part_of(path):
    """The folder, or the file, that a file is in."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path):
    """The parts of the package that a file imports at run time, not only for type checking."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sklearn_vae"):
            _, *parts = node.module.split(".")
            yield from [parts[0]] if parts else [name.name if name.name in FLOOR else "__init__" for name in node.names]
        elif isinstance(node, ast.Import):
            parts = [name.name.split(".") for name in node.names]
            yield from ([*rest, "__init__"][0] for package, *rest in parts if package == "sklearn_vae")


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_imports_point_down(path):
    part = part_of(path)
    assert part in FLOOR
    for other in imported(path):
        assert FLOOR[other] <= FLOOR[part], f"{part} imports {other}"
        assert other == part or not {other, part} <= FAMILIES, f"family {part} imports {other}"


def test_files_are_short():
    """A file of more than 500 lines, docstrings aside, holds more than one concept."""
    for path in FILES:
        tree = ast.parse(path.read_text())
        documented = ast.Module | ast.ClassDef | ast.FunctionDef
        docstrings = [
            node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node)
        ]
        n_lines = len(path.read_text().splitlines()) - sum(d.end_lineno - d.lineno + 1 for d in docstrings)
        assert n_lines <= 500, path


def test_test_files_are_short():
    """A test file of more than 500 lines tests more than one concept."""
    for path in Path(__file__).parent.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 500, path
