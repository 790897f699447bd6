"""The plots, and the code that they share."""

import atexit
import os
import shutil
import tempfile
from typing import Any

NOWHERE = f"{os.devnull}/matplotlib"  # can't exist


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
        import matplotlib as mpl

        mpl.get_configdir()  # both remember their answers
        mpl.get_cachedir()
    finally:
        tempfile.mkdtemp = make
        if used:
            os.environ.pop("MPLCONFIGDIR", None)  # matplotlib sets it for its children
            atexit.unregister(shutil.rmtree)  # it would remove the folder


_find_a_cache()
