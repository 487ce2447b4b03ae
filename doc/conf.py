"""Configuration of the documentation: ``python -m sphinx doc doc/_build``.

With ``-t offline`` it is made without a network, and without links to other projects. With
``-D plot_gallery=0`` the examples are not run, and the pictures that they make are missing.
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
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["templates"]

html_theme = "pydata_sphinx_theme"
html_title = "sknn"
html_static_path = ["_static"]
html_css_files = ["sknn.css"]
html_show_sourcelink = False
html_sidebars = {name: [] for name in ("index", "getting_started", "migration", "benchmarks")}
html_theme_options = {
    "logo": {"text": "sknn"},
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}

autosummary_generate = True
# The templates list what belongs to a page.
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"
# Types are in the docstrings.
autodoc_typehints = "none"

# Every reference must resolve, except those to other projects: whether these do can be told only
# with a network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(sklearn|numpy|scipy|pandas|matplotlib|pathlib)\..*"),
    # in docstrings that are inherited from scikit-learn
    (
        "std:ref",
        "accuracy_score|r2_score|df_output_transform|metadata_routing|sphx_glr_auto_examples_misc.*",
    ),
    ("std:term", "meta-estimator"),
]
if not tags.has("offline"):  # noqa: F821 (Sphinx puts it there)
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "doc_module": "sknn",
    "thumbnail_size": (480, 240),
    "remove_config_comments": True,
}
