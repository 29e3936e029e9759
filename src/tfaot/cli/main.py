"""Entry point of `tfaot`: the commands, and errors as one line with an exit code.

Exit codes: 0 done; 2 wrong input or environment; 3 verification missed its bound; 1 an error of
tfaot itself, a budget that is passed (`inspect --max-bytes`), or something that a check misses; 130
interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from tfaot import __version__
from tfaot.cli.check import check_command
from tfaot.cli.compile import compile_command
from tfaot.cli.export import export_command
from tfaot.cli.inspect import inspect_command
from tfaot.cli.plan import plan_command
from tfaot.cli.plot import plot_command
from tfaot.cli.profile import profile_command
from tfaot.cli.report import report_command
from tfaot.cli.run import run_command
from tfaot.cli.selftest import selftest_command
from tfaot.cli.verify import verify_command
from tfaot.cli.weights import weights_command
from tfaot.errors import TfaotError

# Recent releases of typer carry click inside them, so there may be no module to import it from.
_WrongCommandLine: type[Exception] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)

_INTERRUPTED = 130
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="tfaot",
    help="Compile TensorFlow models ahead of time to a self-contained C/C++ header-object pair.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("compile")(compile_command)
app.command("check")(check_command)
app.command("inspect")(inspect_command)
app.command("verify")(verify_command)
app.command("run")(run_command)
app.command("selftest")(selftest_command)
app.command("plan")(plan_command)
app.command("profile")(profile_command)
app.command("plot")(plot_command)
app.command("export")(export_command)
app.command("weights")(weights_command)
app.command("report")(report_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tfaot {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Compile TensorFlow models ahead of time to a self-contained C/C++ header-object pair."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; `arguments` default to the process's."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; its exit code. Errors are one line on standard error."""
    try:
        result = app(list(arguments) or ["--help"], prog_name="tfaot", standalone_mode=False)
        sys.stdout.flush()
    except TfaotError as error:
        return _fail(str(error), error.exit_code)
    except _WrongCommandLine as error:
        context = getattr(error, "ctx", None)
        hint = f" (see '{context.command_path} --help')" if context is not None else ""
        format_message = getattr(error, "format_message", error.__str__)
        return _fail(format_message().rstrip(".") + hint, 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", _INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (| head): no error of ours; keep the interpreter from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the last resort: whatever is left is an error of tfaot itself
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            place = f"'{error.filename}': " if error.filename else ""
            return _fail(f"no room left: {place}{error.strerror} (TMPDIR names another disk)", 2)
        if os.environ.get("TFAOT_DEBUG"):
            traceback.print_exc()
        reason = " ".join(str(error).split())
        return _fail(
            f"internal error, {type(error).__name__}: {reason} "
            "(set TFAOT_DEBUG=1 for the traceback, and report it)",
            1,
        )
    if result == _INTERRUPTED:  # some releases of typer turn the interrupt into an exit code
        return _fail("interrupted", _INTERRUPTED)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"tfaot: {' '.join(message.split())}", file=sys.stderr)
    return code
