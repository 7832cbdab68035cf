"""Sphinx configuration."""

import os
from pathlib import Path

import sklearn_vae

os.environ.setdefault("OUTPUT_DIR", str(Path(__file__).parent / "_build" / "outputs"))

project = "sklearn_vae"
author = "sklearn_vae developers"
copyright = "2026, sklearn_vae developers"
version = release = sklearn_vae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "benchmarks/README.md", "benchmarks/results"]
templates_path = ["_templates"]
default_role = "literal"
myst_heading_anchors = 2

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn_vae {release}"
html_static_path = ["_static"]
html_show_sourcelink = False
html_sidebars = {"**": []}

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "plot_gallery": "True",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}
