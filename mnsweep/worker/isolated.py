"""Run a module of this mnsweep in a process of its own that imports nothing from the current folder by accident.

A `queue.py` or the `mnsweep/` of another checkout in the current folder must not run in the process that times. So Python
starts with -P and this file, which loads the package that it is part of: the same as the parent's, however that was found
(installed, editable, PYTHONPATH, or a notebook's own path). Without being loaded itself, it imports only what Python has
loaded before it runs.
"""

import os
import sys

PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - pathlib might be the current folder's
KEPT_FLAGS = {"-E": "ignore_environment", "-s": "no_user_site"}  # of this interpreter, for its child

Origin = tuple[str, str]


def isolated(module: str, python: str = sys.executable) -> tuple[str, ...]:
    """The command that runs a module of this package as `__main__`, e.g. `mnsweep.worker.process`, in an interpreter."""
    flags = (flag for flag, name in KEPT_FLAGS.items() if getattr(sys.flags, name))
    return (python, "-P", *flags, __file__, module)


def origin() -> Origin:
    """The mnsweep of this process: its version and the folder of its package."""
    return sys.modules["mnsweep"].__version__, PACKAGE


def put_current_folder_last() -> None:
    """Search the current folder for modules only after everything else, also where PYTHONPATH names it."""
    here = os.path.realpath(".")
    folders = [folder for folder in sys.path if os.path.realpath(folder or ".") != here]
    sys.path[:] = [*folders, *(folder for folder in sys.path if folder not in folders)]


def _load_package() -> None:
    """Import mnsweep from the folder of this file, wherever else there is one."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("mnsweep", f"{PACKAGE}/__init__.py", submodule_search_locations=[PACKAGE])
    assert spec is not None and spec.loader is not None  # noqa: S101 - a path that ends in .py has both
    sys.modules["mnsweep"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["mnsweep"])


if __name__ == "__main__":
    put_current_folder_last()
    _load_package()
    from runpy import run_module

    run_module(sys.argv[1], run_name="__main__")
