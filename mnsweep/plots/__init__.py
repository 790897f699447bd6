"""The plots, and the code that they share.

No setting of the user changes a plot or prevents it: the first import of matplotlib, which reads its settings, is here, and
`figure.own_style` replaces them while a plot is drawn.
"""

import atexit
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NOWHERE = f"{os.devnull}/matplotlib"  # can't exist


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


def _find_a_cache() -> None:
    """Let matplotlib look for a folder for its cache of fonts now, and go on without one where none is writable.

    It would refuse to be imported otherwise. So it is offered a temporary folder that does not exist: it notices when it
    reads or writes the cache, and lists the fonts again each time.
    """
    make, used = tempfile.mkdtemp, []

    def make_or_pretend(*arguments: Any, **settings: Any) -> Any:
        try:
            return make(*arguments, **settings)
        except OSError:
            used.append(NOWHERE)
            return NOWHERE

    tempfile.mkdtemp = make_or_pretend
    try:
        _import_matplotlib()
        import matplotlib as mpl

        mpl.get_configdir()  # both remember their answers
        mpl.get_cachedir()
    finally:
        tempfile.mkdtemp = make
        if used:
            os.environ.pop("MPLCONFIGDIR", None)  # matplotlib sets it for its children
            atexit.unregister(shutil.rmtree)  # it would remove the folder


_find_a_cache()
