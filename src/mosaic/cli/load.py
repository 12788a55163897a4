"""Loading a user's file: Python that registers kernels or builds a graph, or a graph saved as JSON.

Whatever goes wrong in the user's code is told in one sentence with their file and line.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import typer

from mosaic.errors import InputError, MosaicError

if TYPE_CHECKING:
    from mosaic.graph.graph import Graph
    from mosaic.graph.kernel import Kernel

Result = TypeVar("Result")


def load_module(path: Path) -> ModuleType:
    """The module in a Python file, run as `python` would run it: modules beside it can be imported.

    Raises InputError if there is no such file or it cannot be run; a MosaicError that its code raises
    keeps its class.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}" if not path.exists() else f"{path} is no file")
    # Under a package of its own, so that a user's `torch.py` replaces nothing.
    name = f"mosaic_user.{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file; its name must end in .py")
    module = module_from_spec(spec)
    folder = str(path.parent.absolute())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module
    loader = spec.loader
    try:
        run_user_code(path, lambda: loader.exec_module(module))
    except MosaicError:
        del sys.modules[name]
        raise
    return module


def shipped_kernels() -> dict[str, Kernel]:
    """The kernels that ship, by name."""
    import mosaic.kernels
    from mosaic.graph.kernel import registered

    mosaic.kernels.load()
    return {name: kernel for name, kernel in registered().items() if kernel.build.__module__.startswith("mosaic.kernels.")}


def load_kernels(path: Path) -> dict[str, Kernel]:
    """The kernels that a Python file registers, by name, beside those that ship. Raises InputError if it registers none."""
    from mosaic.graph.kernel import registered

    shipped_kernels()
    load_module(path)
    mine = {name: kernel for name, kernel in registered().items() if Path(kernel.source_file).absolute() == path.absolute()}
    if not mine:
        raise InputError(f"{path} registers no kernel; decorate a function that returns a PrimFunc with mosaic.kernel(...)")
    return mine


def load_graph(path: Path) -> Graph:
    """The graph in a file, validated: saved as JSON, or a Python file's `graph`, be it a Graph or a function that returns one.

    Raises InputError if the file holds no graph, GraphError if the graph makes no sense.
    """
    shipped_kernels()
    if path.suffix == ".json":
        return _load_saved(path)
    if path.suffix != ".py":
        raise InputError(f"{path} is no graph; give a Python file that builds one, or one saved as .json")
    return _build_graph(path)


def _load_saved(path: Path) -> Graph:
    from mosaic.graph.serialize import KernelChangedWarning, load

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", KernelChangedWarning)
        graph = load(path)
    for warning in caught:
        typer.echo(f"mosaic: warning: {warning.message}", err=True)
    return graph


def _build_graph(path: Path) -> Graph:
    from mosaic.graph.graph import Graph

    found = getattr(load_module(path), "graph", None)
    if found is None:
        raise InputError(f"{path} builds no graph; give it a function graph() that returns a mosaic.Graph, or a variable of that name")
    if callable(found):
        build: Callable[[], object] = found
        found = run_user_code(path, build)
    if not isinstance(found, Graph):
        raise InputError(f"{path}: graph is of type {type(found).__name__}, but must be a mosaic.Graph or a function that returns one")
    found.validate()
    return found


def run_user_code(path: Path, code: Callable[[], Result]) -> Result:
    """What `code`, which stands in the user's file `path`, returns.

    Raises what it raises as one sentence with file and line: a MosaicError as one of the same class, anything else as InputError.
    """
    try:
        return code()
    except SyntaxError as error:
        where = f"{error.filename or path}, line {error.lineno}" if error.lineno else str(path)
        raise InputError(f"{where}: {error.msg}") from error
    except MosaicError as error:
        raise type(error)(f"{_place(path, error)}: {error}") from error
    except SystemExit as error:
        raise InputError(f"{_place(path, error)}: the file ends the program; a file to be loaded must not") from error
    except Exception as error:
        detail = f": {error}" if str(error) else ""
        raise InputError(f"{_place(path, error)}: {type(error).__name__}{detail}") from error


def _place(path: Path, error: BaseException) -> str:
    """The innermost line of the user's own file that led to the error."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path.absolute() or frame.filename == str(path)
    ]
    return f"{path}, line {frames[-1].lineno}" if frames else str(path)
