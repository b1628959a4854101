"""``glue-lit export``: a run's model for other programs, as a folder, as ONNX, or on the Hub."""

import sys
from pathlib import Path
from typing import Any

from glue_lit.cli.commands.flags import Flags
from glue_lit.cli.run_arguments import locate
from glue_lit.errors import UsageError
from glue_lit.outputs import onnx_export
from glue_lit.outputs.export import run_export
from glue_lit.outputs.hub_upload import upload_folder
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.console import say
from glue_lit.system.library_warnings import quiet_lightning


def _options() -> tuple[Any, list[str]]:
    flags = Flags("glue-lit export", description="Write a run's model for others to load.", allow_abbrev=False)
    flags.add_argument("--output", type=Path, required=True, help="folder to write")
    flags.add_argument("--run", help="run directory (default: the newest run)")
    flags.add_argument("--ckpt_path", default="best", help="best (default), last, or a .ckpt file")
    flags.add_argument("--format", choices=["transformers", "onnx"], default="transformers", help="what to write")
    flags.add_argument("--quantize", choices=["int8"], help="with --format onnx: weights in 8 bits")
    flags.add_argument("--overwrite", action="store_true", help="replace an earlier export in the folder")
    flags.add_argument("--push_to_hub", metavar="NAME", help="upload the folder as NAME (owner/name), too")
    flags.add_argument(
        "--private", action="count", default=0,
        help="with --push_to_hub: in a private repository; given twice, a public one becomes private, too",
    )  # fmt: skip
    flags.add_argument("--data.task", dest="task", help="take the newest run of this task")
    flags.add_argument("--trainer.default_root_dir", dest="root", help="where lightning_logs lies")
    flags.add_argument(
        "--model.trust_remote_code", dest="trust", choices=["true", "false"], default="false",
        help="run Python code that comes with the model; only for authors you trust",
    )  # fmt: skip
    flags.add_argument("--model.name_or_path", dest="name", help="where the base model of adapters is now")
    options = flags.parse_args(CommandLine(sys.argv[2:], "export").with_run_flag(first_word=True).words)
    if options.quantize and options.format != "onnx":
        raise UsageError("--quantize goes with --format onnx.")
    if options.private and not options.push_to_hub:
        raise UsageError("--private goes with --push_to_hub.")
    places = (("--data.task", options.task), ("--trainer.default_root_dir", options.root))
    return options, [f"{flag}={value}" for flag, value in places if value is not None]


def main() -> None:
    """Export, and print what was written and measured."""
    quiet_lightning()
    options, places = _options()
    if options.format == "onnx":
        onnx_export.require()
    run, checkpoint = locate(options.ckpt_path, options.run, CommandLine(places, "export"))
    result = run_export(
        checkpoint, run, options.output, options.format, options.quantize, options.overwrite, options.trust == "true",
        options.name,
    )  # fmt: skip
    say(f"Exported  {checkpoint}\nTo        {options.output} ({', '.join(result.files)})")
    for name, figure in result.measured.items():
        say(f"{name}: {figure}")
    if options.push_to_hub:
        say(f"On the Hub {upload_folder(options.output, options.push_to_hub, options.private, result.card)}")
