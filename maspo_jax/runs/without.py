"""Imports that do without a package."""

import contextlib
import sys


@contextlib.contextmanager
def without(name):
    """Lets the import of a package fail as if it were not there, unless it is loaded.

    For a library that takes along what happens to be installed. Afterwards the package
    can be imported as ever.

    Args:
        name: of the package.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None
    try:
        yield
    finally:
        del sys.modules[name]
