"""The application: its verbs, and what becomes of an error.

An error that the user can mend is one sentence on standard error and the exit code of its class (see
`mosaic.errors`); a defect of Mosaic is one sentence and exit code 70. `MOSAIC_DEBUG=1` shows where it happened.
"""

from __future__ import annotations

import os
import traceback
from typing import Annotated, Any, Final

import typer
import typer.core

from mosaic.cli import audit, bench, doctor, env_info, fuse, inspect, kernels, layouts, lower, packets, replay, smoke, verify
from mosaic.errors import MosaicError
from mosaic.version import __version__

DEFECT: Final = 70
"""Exit code of an error that no input should cause (EX_SOFTWARE of BSD's sysexits)."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""


def _report(sentence: str) -> None:
    if os.environ.get("MOSAIC_DEBUG", "0") not in ("", "0"):
        traceback.print_exc()
    typer.echo(f"mosaic: {' '.join(sentence.split())}", err=True)


class MosaicGroup(typer.core.TyperGroup):
    """Turns what a verb raises into a sentence and an exit code; usage errors are left to Typer, which exits with 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MosaicError as error:
            _report(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(INTERRUPTED) from interrupt
        except Exception as error:
            if _is_control_flow(error):
                raise
            _report(f"defect: {type(error).__name__}: {error}; please report it with what MOSAIC_DEBUG=1 shows")
            raise typer.Exit(DEFECT) from error


def _is_control_flow(error: Exception) -> bool:
    """Whether Typer's own `main` handles this: its exit, abort and usage errors, and a pipe whose reader has seen enough."""
    return isinstance(error, BrokenPipeError) or any(cls.__module__.partition(".")[0] in ("typer", "click") for cls in type(error).__mro__)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mosaic {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="mosaic",
    cls=MosaicGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Errors are one sentence on standard error. Exit codes: 0 done, 1 other, 2 a bad file or option, 3 a graph, "
    "4 a kernel, 5 a target or a missing compiler, 6 a wrong result, 70 a defect of Mosaic.",
)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Fuse independently written TileLang kernels into fewer ones, and prove that the answer is the same."""


for verb in (fuse, layouts, inspect, kernels, lower, doctor, smoke, verify, bench, audit, replay, packets, env_info):
    verb.add_to(app)


def main() -> None:
    """Run the command line with this process's arguments, and exit."""
    app(prog_name="mosaic")
