"""What is published: distributions, declared dependencies, the page on a package index, hosted checks."""

import ast
import functools
import importlib.metadata
import itertools
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import sklearn_vae

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
# Not in a clone: what git ignores.
MADE = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", ".coverage*", "__pycache__", "*.egg-info", "build", "dist", "outputs",
    "_build", "generated", "auto_examples",
)  # fmt: skip
BUILD = "import setuptools.build_meta as backend; print(backend.build_{}({!r}))"
SMOKE = """
import importlib, importlib.metadata, pathlib, pkgutil, sys
import numpy as np
import sklearn_vae

assert pathlib.Path(sklearn_vae.__file__).is_relative_to(sys.prefix), sklearn_vae.__file__
assert importlib.metadata.version("sklearn-vae") == sklearn_vae.__version__
for module in pkgutil.walk_packages(sklearn_vae.__path__, "sklearn_vae."):
    importlib.import_module(module.name)
X = np.random.default_rng(0).normal(size=(40, 3))
vae = sklearn_vae.VAETransformer(2, max_iter=2, random_state=0).fit(X)
assert vae.inverse_transform(vae.transform(X)).shape == X.shape
"""


def run(*command, cwd):
    """Run python in a folder; return what it prints."""
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The unpacked source distribution of a copy of the working tree."""
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, folder / "tree", ignore=MADE)
    name = run(sys.executable, "-c", BUILD.format("sdist", str(folder)), cwd=folder / "tree").split()[-1]
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder, filter="data")
    return folder / name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist):
    """The wheel that is built from the source distribution."""
    return sdist.parent / run(sys.executable, "-c", BUILD.format("wheel", str(sdist.parent)), cwd=sdist).split()[-1]


@pytest.fixture(scope="module")
def clean_python(wheel):
    """Python of a new environment that has the wheel; everything else comes from the environment of the tests."""
    folder = wheel.parent / "env"
    venv.create(folder)
    paths = {"base": str(folder), "platbase": str(folder)}
    # The .pth files of the folders named in a .pth file are not read: no editable install is active.
    others = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    Path(sysconfig.get_path("purelib", "venv", paths), "tests.pth").write_text("\n".join(others))
    python = Path(sysconfig.get_path("scripts", "venv", paths), "python")
    install = ["-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", wheel]
    run(sys.executable, *install, cwd=folder)
    return python


def test_sdist_has_every_tracked_file(sdist):
    if not ROOT.joinpath(".git").exists():
        pytest.skip("not a clone")
    tracked = set(run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines())
    packed = {str(path.relative_to(sdist)) for path in sdist.rglob("*")}
    assert {name for name in tracked if not name.startswith(".ci/") and ROOT.joinpath(name).exists()} <= packed


def test_wheel_has_the_package_alone_and_is_typed(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {str(path.relative_to(ROOT)) for path in ROOT.joinpath("sklearn_vae").rglob("*.py")}
    assert names == files | {"sklearn_vae/py.typed"}


def test_wheel_works_where_it_is_installed(clean_python, tmp_path):
    run(clean_python, "-I", "-c", SMOKE, cwd=tmp_path)


def test_tests_of_the_sdist_can_be_collected(clean_python, sdist):
    run(clean_python, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", cwd=sdist)


# Dependencies


def distributions(*extras):
    """Lower bounds of the distributions that an install with these extras has, by name."""
    wanted = list(PROJECT["dependencies"])
    for extra in extras:
        for requirement in PROJECT["optional-dependencies"][extra]:
            if nested := re.fullmatch(r"sklearn-vae\[(.*)\]", requirement):
                wanted += [f"{name}>={bound}" for name, bound in distributions(*nested[1].split(",")).items()]
            else:
                wanted.append(requirement)
    return dict(requirement.split(">=") for requirement in wanted)


@functools.cache
def providers():
    """Distributions of each package that can be imported."""
    # Packages of the benchmarks may be missing, and these have other names than their distributions.
    return {"umap": ["umap-learn"], "imblearn": ["imbalanced-learn"], **importlib.metadata.packages_distributions()}


def imported(folder, nodes):
    """Names of the distributions that files import, without the standard library and modules of ours."""
    # A test of persistence writes own_network.
    ours = {"sklearn_vae", "own_network"} | {path.stem for path in ROOT.joinpath(folder).rglob("*.py")}
    names = set()
    for path in ROOT.joinpath(folder).rglob("*.py"):
        for node in nodes(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.partition(".")[0])
    return {
        providers().get(name, [name.replace("_", "-")])[0].lower() for name in names - ours - sys.stdlib_module_names
    }


def test_package_declares_what_it_always_imports():
    assert imported("sklearn_vae", lambda module: module.body) == set(distributions())


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("sklearn_vae", ["imbalance", "plot", "progress"]),
        ("tests", ["test"]),
        ("examples", ["docs"]),
        ("docs", ["docs", "bench"]),
    ],
)
def test_every_import_is_declared(folder, extras):
    assert imported(folder, ast.walk) <= set(distributions(*extras))


def test_oldest_versions_tested_are_those_declared():
    lines = ROOT.joinpath("constraints-oldest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    declared = distributions("test")
    assert {name: bound for name, bound in tested.items() if name in declared} == {
        name: bound for name, bound in declared.items() if name not in {"mypy", "ruff"}
    }


# Files for readers and hosts


def test_readme_links_only_to_small_pictures():
    """A package index shows their alternative texts as long as the repository has no address."""
    text, picture = ROOT.joinpath(PROJECT["readme"]).read_text(), r"!\[([^]]+)\]\((docs/_static/[\w.]+)\)"
    link = r"\]\(([^)]*)\)|(?:src|href)=[\"']([^\"']*)|^\[[^]]*\]:\s*(\S+)"
    assert not re.findall(link, re.sub(picture, "", text), flags=re.MULTILINE)
    pictures = re.findall(picture, text)
    assert len(pictures) == 3
    assert all(0 < ROOT.joinpath(path).stat().st_size < 150_000 for _, path in pictures)


def test_pages_show_figures_that_examples_draw():
    pages = [*ROOT.glob("docs/*.rst"), *ROOT.glob("docs/guide/*.rst")]
    figures = [re.findall(r"images/sphx_glr_(plot_\w+)_(\d{3})\.png", page.read_text()) for page in pages]
    assert any(figures)
    for name, number in itertools.chain(*figures):
        text = ROOT.joinpath("examples", f"{name}.py").read_text()
        # A build that does not run the examples puts this number of images in place of the figures.
        declared = re.search(r"^# sphinx_gallery_dummy_images=(\d+)$", text, flags=re.MULTILINE)
        assert declared and int(number) <= int(declared[1]) == text.count("savefig("), name


def test_no_file_names_an_address_that_is_not_published():
    """The project has none yet; once it has, the metadata name it."""
    assert "urls" not in PROJECT
    for path in [
        *ROOT.joinpath("sklearn_vae").rglob("*.py"),
        *ROOT.glob("*.md"),
        *ROOT.joinpath("docs").rglob("*.rst"),
    ]:
        assert not re.search(r"https?://[^\s/]*sklearn[-_]?vae", path.read_text()), path


def test_versions_agree():
    citation = yaml.safe_load(ROOT.joinpath("CITATION.cff").read_text())
    changelog = re.search(r"^## (\S+)", ROOT.joinpath("CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert citation["version"] == changelog[1] == sklearn_vae.__version__
    assert citation["license"] == PROJECT["license"]


def commands():
    """Every command of the hosted and local checks, and of the contributing page."""
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    hooks = yaml.safe_load(ROOT.joinpath(".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lines = re.findall(r"^make .*$", ROOT.joinpath("CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    steps = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    return steps + [hook["entry"] for hook in hooks] + [line.partition("#")[0].strip() for line in lines]


@pytest.mark.parametrize("command", commands())
def test_checks_call_targets_of_make(command):
    targets = re.findall(r"^([\w-]+):", ROOT.joinpath("Makefile").read_text(), flags=re.MULTILINE)
    assert (called := re.fullmatch(r"make ([\w-]+)( PYTHON=python)?", command)) and called[1] in targets


def test_actions_are_pinned_to_a_major_version():
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    used = [step["uses"] for job in jobs for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+", name) for name in used)


@pytest.mark.parametrize(
    "path", sorted(ROOT.joinpath(".github", "ISSUE_TEMPLATE").iterdir()), ids=lambda path: path.name
)
def test_issue_templates_have_a_name_and_a_purpose(path):
    _, front, body = path.read_text().split("---\n", 2)
    assert set(yaml.safe_load(front)) == {"name", "about", "labels"} and body.strip()
