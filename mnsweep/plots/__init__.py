"""The plots, and the code that they share.

No setting of the user changes a plot or prevents it: the first import of matplotlib, which reads its settings, is here, and
`figure.own_style` replaces them while a plot is drawn.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib.util import find_spec
from pathlib import Path


def _import_matplotlib() -> None:
    """Import matplotlib without its notices, and again with its own settings if the user's prevent that."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)  # no notices about bad lines in a settings file, or about caches
    try:
        import matplotlib.font_manager
    except (ValueError, OSError):  # an unknown MPLBACKEND, or a settings file that can't be read
        with _without_settings():
            import matplotlib.font_manager  # noqa: F401
    finally:
        log.setLevel(level)


@contextmanager
def _without_settings() -> Iterator[None]:
    """In matplotlib's data folder: it prefers a settings file in the current folder, and this one has its defaults."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        del sys.modules[name]  # half of it was imported
    spec, backend = find_spec("matplotlib"), os.environ.pop("MPLBACKEND", None)
    try:
        with chdir(Path(spec.origin).parent / "mpl-data" if spec and spec.origin else Path()):
            yield
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


_import_matplotlib()
