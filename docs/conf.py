"""How the documentation site is built: `make docs`.

The built site asks for nothing from the network: the theme brings its own files, and mathematics is
MathML, which browsers set by themselves. Configuring loads no torch; the API pages and the gallery
do.
"""

from __future__ import annotations

import sys
from pathlib import Path

import physgan

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "physgan"
author = "The physgan authors"
copyright = f"2026, {author}"
version = release = physgan.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
    # Of this folder.
    "commands",
    "docstrings",
    "mathml",
    "shipped",
]
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.py", "sg_execution_times.rst"]

# ---------------------------------------------------------------- pages

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "physgan"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False

# ---------------------------------------------------------------- API, from docstrings

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autosummary_generate = False
# Examples in docstrings are run by pytest, with the names of their module; these are the pages'.
doctest_test_doctest_blocks = ""
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# In docstrings as in Markdown, `x` is code.
default_role = "code"

# ---------------------------------------------------------------- gallery, by running the examples

sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples" / "gallery"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 3600,  # how long a script took on the machine that built the site is
    "write_computation_times": False,  # nobody's business, and its page asks for the network
    "remove_config_comments": True,
}
