"""`tfaot compile`: a model to its header, object and manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfaot.cli import parsing
from tfaot.cli.model_options import (
    ConfigFile,
    CustomObjects,
    InputNodes,
    InputShapes,
    ModelPath,
    OutputNodes,
    Quiet,
    SetValues,
    Signature,
    TfXlaFlags,
    XlaFlags,
)
from tfaot.errors import UsageError
from tfaot.options import DEFAULT_NAMESPACE, DEFAULT_TARGET, INTERNAL, CompileOptions

if TYPE_CHECKING:
    from tfaot.artifact import Artifact
    from tfaot.config import Config


def compile_command(
    model: ModelPath = None,
    output_dir: Annotated[
        Path, typer.Option("-o", "--output-dir", help="Folder for NAME.h, NAME.o, NAME.json.")
    ] = Path("."),
    name: Annotated[
        str | None, typer.Option(help="C identifier; default: the model's own name.")
    ] = None,
    signature: Signature = None,
    target: Annotated[
        str,
        typer.Option(
            help="portable (x86-64-v2, -v3 and -v4 in one object), native, a CPU, levels such as "
            "x86-64-v3,x86-64-v4, or a platform such as aarch64-linux."
        ),
    ] = DEFAULT_TARGET,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            help="Batch sizes such as 1,2,4, for models that need them and for tfcompile's classes."
        ),
    ] = None,
    static: Annotated[
        bool,
        typer.Option(
            "--static", help="Compile for the batch sizes alone, even where any size is possible."
        ),
    ] = False,
    interface: Annotated[
        str,
        typer.Option(
            help="c++, or tfcompile for a header NAME_bs<N>.h per batch size in tfcompile's shape."
        ),
    ] = "c++",
    config: ConfigFile = None,
    namespace: Annotated[
        str | None, typer.Option(help=f"C++ namespace; default: {DEFAULT_NAMESPACE}.")
    ] = None,
    xla_flags: XlaFlags = None,
    tf_xla_flags: TfXlaFlags = None,
    weights: Annotated[
        str,
        typer.Option(help="internal: in the object; external: in NAME.weights, to be replaced."),
    ] = INTERNAL,
    emit: Annotated[
        str | None, typer.Option(help="Intermediate files to write too: ll,asm,hlo.")
    ] = None,
    inputs: InputNodes = None,
    outputs: OutputNodes = None,
    input_shape: InputShapes = None,
    set_: SetValues = None,
    custom_objects: CustomObjects = None,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="Put golden rows and NAME_self_test into the object."),
    ] = False,
    timers: Annotated[
        bool,
        typer.Option("--timers", help="Time each kernel, for tfaot profile --kernels alone."),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare with TensorFlow afterwards.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the manifest's path and facts as JSON.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Compile MODEL to a self-contained header-object pair."""
    settings = None
    if config is not None:
        from tfaot.config import read_config

        settings = read_config(config)
    source = model if model is not None else settings and str(settings.saved_model)
    if not source:
        raise UsageError("no model: give MODEL, or a configuration with --config")
    options = CompileOptions(
        output_dir=output_dir,
        name=name or (settings.name if settings else None),
        signature=signature or (settings.serving_key if settings else None),
        inputs=parsing.names(inputs),
        outputs=parsing.names(outputs),
        input_shapes=parsing.input_shapes(input_shape or ()),
        set_values=parsing.set_values(set_ or ()),
        custom_objects=tuple(custom_objects or ()),
        target=target,
        batch_sizes=parsing.batch_sizes(batch_sizes) or (settings.batch_sizes if settings else ()),
        static=static,
        interface=interface,
        namespace=namespace or (settings.namespace if settings else DEFAULT_NAMESPACE),
        xla_flags=(*(settings.xla_flags if settings else ()), *parsing.flags(xla_flags or ())),
        tf_xla_flags=(
            *(settings.tf_xla_flags if settings else ()),
            *parsing.flags(tf_xla_flags or ()),
        ),
        weights=weights,
        emit=tuple(sorted(set(parsing.names(emit)))),
        self_test=self_test,
        timers=timers,
        verify=verify,
        **_about(settings),
    )
    _compile(options, source, as_json, quiet)


def _about(settings: Config | None) -> dict[str, str | None]:
    if settings is None:
        return {}
    return {
        "model_version": settings.version,
        "description": settings.description,
        "author": settings.author,
    }


def _compile(options: CompileOptions, source: str, as_json: bool, quiet: bool) -> None:
    from tfaot.artifact import check_output_dir
    from tfaot.cli.progress import Progress

    if not Path(source).exists():
        raise UsageError(f"there is no model '{source}'")
    check_output_dir(options.output_dir)
    from tfaot.compiler import compile_model

    with Progress(quiet) as progress:
        artifact = compile_model(options, source, progress)
    if as_json:
        typer.echo(json.dumps(_facts(artifact), sort_keys=True, indent=1))
    elif not quiet:
        for path in artifact.files:
            typer.echo(str(path))


def _facts(artifact: Artifact) -> dict[str, object]:
    from tfaot.packaging.manifest import read_manifest

    manifest = read_manifest(artifact.manifest)
    return {
        "name": manifest.name,
        "files": [str(path) for path in artifact.files],
        "weights_bytes": manifest.weights_bytes,
        "workspace_bytes": manifest.workspace.bytes,
        "code_bytes": manifest.code_bytes,
        "data_bytes": manifest.data_bytes,
        "stack_bytes": manifest.stack_bytes,
        "verification": manifest.verification,
    }
