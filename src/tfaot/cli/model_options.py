"""Options that several commands have: what they say of a model, and how much is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelPath = Annotated[
    str | None,
    typer.Argument(help="SavedModel folder, .keras, .h5 or frozen .pb; or give --config."),
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="aot_config.yaml; options given here win over it.")
]
Signature = Annotated[str | None, typer.Option(help="Key of the SavedModel signature.")]
InputNodes = Annotated[
    str | None, typer.Option(help="Input nodes of a frozen graph, separated by commas.")
]
OutputNodes = Annotated[
    str | None, typer.Option(help="Output nodes of a frozen graph, separated by commas.")
]
InputShapes = Annotated[
    list[str] | None,
    typer.Option(help="NAME=n,28,28,1 for an input with unknown axes. Repeatable."),
]
SetValues = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE fixes a placeholder. Repeatable."),
]
CustomObjects = Annotated[
    list[str] | None,
    typer.Option(help="Keras custom objects: module:name, or module for all of it. Repeatable."),
]
XlaFlags = Annotated[
    list[str] | None, typer.Option(help="Flags for XLA, added to XLA_FLAGS. Repeatable.")
]
TfXlaFlags = Annotated[
    list[str] | None, typer.Option(help="Flags added to TF_XLA_FLAGS. Repeatable.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")]
