"""Sphinx configuration."""

import os
import re
from pathlib import Path

import docutils.nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx_gallery.sorting import ExplicitOrder

import sklearn_vae

os.environ.setdefault("OUTPUT_DIR", str(Path(__file__).parent / "_build" / "outputs"))

project = "sklearn_vae"
author = "sklearn_vae developers"
copyright = "2026, sklearn_vae developers"
version = release = sklearn_vae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "myst_parser",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "benchmarks/README.md", "benchmarks/results"]
templates_path = ["_templates"]
default_role = "literal"
smartquotes = False
toc_object_entries_show_parents = "hide"
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn_vae {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "header_links_before_dropdown": 8,
    "navbar_persistent": ["search-button"],
    "navigation_with_keys": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Pages that are no section of others have nothing to show beside them.
html_sidebars = {page: [] for page in ("index", "install", "quickstart", "benchmarks", "faq", "changelog")}

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

# A copied example has neither prompts nor output. What the gallery's scripts print has no button.
copybutton_selector = "div:not(.sphx-glr-script-out) > div.highlight > pre"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

# From the first to read to the longest; what is not named comes last.
examples_order = [
    "plot_digits_pipeline.py",
    "plot_autoencoder_or_vae.py",
    "plot_few_labels.py",
    "plot_conditional_samples.py",
    "plot_anomalies.py",
    "plot_images.py",
    "plot_maps.py",
    "plot_displays.py",
    "plot_tables.py",
    "plot_image_classification.py",
    "*",
]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "plot_gallery": "True",
    "within_subsection_order": ExplicitOrder(examples_order),
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}


def mathml(node, **options):
    """Translate a formula to MathML, which browsers draw themselves: pages read the same offline."""
    # Browsers leave out the space after the name of a function.
    return re.sub(
        r"(&ApplyFunction;</mo>)(?!\s*<mo)", r'\1<mspace width="0.17em"/>', tex2mathml(node.astext(), **options)
    )


def visit_math(self, node):
    """Write a formula in a line."""
    self.body.append(mathml(node))
    raise docutils.nodes.SkipNode


def visit_displaymath(self, node):
    """Write a formula between lines."""
    self.body.append(f'<div class="formula">{mathml(node, as_block=True)}</div>')
    raise docutils.nodes.SkipNode


def issues(name, rawtext, text, *args, **options):
    """Link each owner/name#number to its thread on GitHub; a lone #number belongs to the repository before it."""
    nodes, repository = [], None
    for separator, named, number in re.findall(r"([,;]?\s*)([\w.-]+/[\w.-]+)?(#\d+)", text):
        repository = named or repository
        address = f"https://github.com/{repository}/issues/{number[1:]}"
        nodes += [docutils.nodes.Text(separator), docutils.nodes.reference("", named + number, refuri=address)]
    return nodes, []


def setup(app):
    """Register what writes formulas and links to issues."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    app.add_role("issues", issues)
