"""Progress: on a terminal stages, details and times; the terminal is left as it was."""

import os
import subprocess
import sys

PROGRAM = """
import time
from tfaot.cli.progress import Progress
with Progress(quiet={quiet}) as progress:
    progress("lower", "batch 31")
    time.sleep(0.3)
    progress("kernels", "2/7 [dense]")
    time.sleep(0.3)
"""


def on_a_terminal(program):
    reader, writer = os.openpty()
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(command, stderr=writer, env=environment):
        os.close(writer)
        shown = b""
        while True:
            try:
                part = os.read(reader, 4096)
            except OSError:  # the terminal was closed
                break
            if not part:
                break
            shown += part
    os.close(reader)
    return shown.decode()


def test_terminal():
    shown = on_a_terminal(PROGRAM.format(quiet=False))
    assert "batch 31" in shown
    assert "2/7 [dense]" in shown
    assert "lower               0." in shown  # the stage that ended, with its seconds
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")  # the cursor is back


def test_quiet():
    assert on_a_terminal(PROGRAM.format(quiet=True)) == ""


def test_pipe():
    command = [sys.executable, "-c", PROGRAM.format(quiet=False)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
