"""Configuration of the documentation: ``python -m sphinx doc doc/_build``.

With ``-t offline`` it is made without a network, and without links to other projects.
"""

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
templates_path = ["templates"]
# The templates list what belongs to a page.
numpydoc_show_class_members = False
# Types are in the docstrings.
autodoc_typehints = "none"

# What a text refers to has to be there, but for what belongs to other projects: whether that is can
# be told with a network only.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(sklearn|numpy|scipy|pandas)\..*"),
    # in docstrings that are inherited from scikit-learn
    ("std:ref", "accuracy_score|r2_score|df_output_transform|sphx_glr_auto_examples_misc.*"),
]
if not tags.has("offline"):  # noqa: F821 (Sphinx puts it there)
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "doc_module": "sknn",
}
