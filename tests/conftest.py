"""What holds for all tests."""

import gc


def pytest_collection_finish():
    """Leave what was imported out of the search for garbage: thousands of tests make some."""
    gc.collect()
    gc.freeze()
