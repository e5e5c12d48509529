"""Sphinx configuration: ``sphinx-build -W -b html docs docs/_build/html``. Needs no network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE / "figures")]
# The kernels that run the pages inherit these variables.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE / "figures"), os.environ.get("PYTHONPATH")]))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ |= {"COLUMNS": "88", "NO_COLOR": "1"}  # tables of commands: as wide as the page, legible in both themes
os.environ |= {"PYTHONSTARTUP": str(HERE / "_ext" / "failing_commands.py")}  # read by the kernels
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm asks for a widget that no page needs

import lcat  # noqa: E402

project = "lcat"
author = "The lcat developers"
copyright = "The lcat developers"
release = version = lcat.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "mathml",
    "docstrings",
    "streams",
    "complete",
]
# Pygments cannot parse a command over two lines in a Python cell. It is shown without this warning.
suppress_warnings = ["misc.highlighting_failure"]
exclude_patterns = ["_build", "jupyter_execute"]

# Pages are MyST. Every code cell is executed, and an error in a cell fails the build.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist", "smartquotes"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds per cell, also on a busy machine
nb_merge_streams = True
nb_execution_in_temp = True
html_math_renderer = "mathml"

# API reference: Google-style docstrings.
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Shapes", "notes_style"), ("Complexity", "notes_style"), ("Cost", "notes_style")]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90
add_module_names = False

html_theme = "furo"
html_title = f"lcat {release}"
html_static_path = ["_static"]
html_css_files = ["lcat.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#7a3fb8", "color-brand-content": "#7a3fb8"},
    "dark_css_variables": {"color-brand-primary": "#c39bf0", "color-brand-content": "#c39bf0"},
}
pygments_style = "friendly"
pygments_dark_style = "monokai"
