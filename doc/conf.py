"""Configuration of the documentation: ``python -m sphinx doc doc/_build``."""

from importlib.metadata import version as version_of

project = "sknn"
author = "The sknn developers"
copyright = "2026, The sknn developers"
release = version = version_of("sknn")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Neural networks for scikit-learn", "fixed_sidebar": True}

autosummary_generate = True
# What an estimator inherits from scikit-learn belongs to its page, but not as a table that wants
# a page for each method.
numpydoc_class_members_toctree = False

intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "sklearn": ("https://scikit-learn.org/stable", None),
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "doc_module": "sknn",
    "reference_url": {"sknn": None},
}
