"""``glue-lit export``: a run's model as others load it, as a folder, as ONNX, on the Hub."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glue_lit.cli.commands.flags import Flags
from glue_lit.cli.run_arguments import locate
from glue_lit.errors import GlueLitError, RunError, UsageError
from glue_lit.outputs import onnx_export as onnx_format
from glue_lit.outputs.hugging_face import (
    Trained,
    load_trained,
    score,
    torch_logits,
    whole_folder,
    write_model,
    write_tokenizer,
)
from glue_lit.outputs.model_card import model_card
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.console import say
from glue_lit.system.files import write_text
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
        help="with --push_to_hub: for your own eyes; given twice, a public repository becomes private, too",
    )  # fmt: skip
    flags.add_argument("--data.task", dest="task", help="take the newest run of this task")
    flags.add_argument("--trainer.default_root_dir", dest="root", help="where lightning_logs lies")
    flags.add_argument(
        "--model.trust_remote_code", dest="trust", choices=["true", "false"], default="false",
        help="run code that the model comes with; only for authors you trust",
    )  # fmt: skip
    options = flags.parse_args(sys.argv[2:])
    if options.quantize and options.format != "onnx":
        raise UsageError("--quantize goes with --format onnx.")
    if options.private and not options.push_to_hub:
        raise UsageError("--private goes with --push_to_hub.")
    places = (("--data.task", options.task), ("--trainer.default_root_dir", options.root))
    return options, [f"{flag}={value}" for flag, value in places if value is not None]


def main() -> None:
    """Export."""
    quiet_lightning()
    options, places = _options()
    if options.format == "onnx":
        onnx_format.require()
    run, checkpoint = locate(options.ckpt_path, options.run, CommandLine(places, "export"))
    trained = load_trained(checkpoint, run, options.trust == "true")
    with whole_folder(options.output, options.overwrite) as folder:
        notes = _onnx(trained, folder, options.quantize) if options.format == "onnx" else {}
        if options.format == "transformers":
            write_model(trained, folder)
        kind = {"is_onnx": options.format == "onnx", "has_code": any(folder.glob("*.py"))}

        def card(place: str) -> str:
            return model_card(trained.task, trained.max_length, trained.record, notes, place, **kind)

        write_text(folder / "README.md", card(options.output.resolve().name))
        files = ", ".join(sorted(path.name for path in folder.iterdir()))
    say(f"Exported  {checkpoint}\nTo        {options.output} ({files})")
    for name, figure in notes.items():
        say(f"{name}: {figure}")
    if options.push_to_hub:
        say(f"On the Hub {push(options.output, options.push_to_hub, options.private, card)}")


def _onnx(trained: Trained, folder: Path, quantize: str | None) -> dict[str, str]:
    """Write ONNX, tokenizer and configuration; returns what was measured."""
    path = folder / onnx_format.NAME
    notes = {"Largest difference to PyTorch's logits, 32-bit weights": f"{onnx_format.write_onnx(trained, path):.2g}"}
    trained.classifier.model.config._name_or_path = ""
    trained.classifier.model.config.save_pretrained(folder)
    write_tokenizer(trained, folder)
    if quantize is None:
        return notes
    size = path.stat().st_size
    onnx_format.quantize(path)
    notes["Size with 8-bit weights"] = f"{path.stat().st_size / 2**20:.1f} MiB in place of {size / 2**20:.1f}"
    sides = {"PyTorch": torch_logits(trained), "int8": onnx_format.onnx_logits(path)}
    try:
        scores = score(trained, sides)
    except GlueLitError as error:
        notes["Scores with 8-bit weights"] = f"not measured, for want of the validation rows: {error}"
        return notes
    for name, value in scores["PyTorch"].items():
        notes[f"{trained.task.monitored_split}, {name}"] = f"{value:.4f}, with 8-bit weights {scores['int8'][name]:.4f}"
    return notes


def push(folder: Path, name: str, private: int = 0, card: Callable[[str], str] | None = None) -> str:
    """Upload a folder; returns its address.

    Args:
        folder: An export.
        name: Of the repository, ``owner/name``; without owner it is the user's own.
        private: 1 if nobody else may see it; 2 to make a public repository of that name private.
        card: Makes the model card for ``owner/name``.

    Raises:
        UsageError: It is to be private, and a public repository is there; nothing is uploaded.
        RunError: The Hub refused, or cannot be reached; the folder is kept.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi()
        address = api.create_repo(name, private=bool(private) or None, exist_ok=True, repo_type="model")
        # For one that was there before, the Hub ignores that it was to be private.
        if private and not api.model_info(address.repo_id).private:
            if private == 1:
                raise UsageError(
                    f"--private: {address.repo_id} is there already and public, so nothing was uploaded; {folder} is "
                    "kept. Name another repository, or say `--private --private` to make this one private."
                )
            api.update_repo_settings(address.repo_id, private=True)
        if card is not None:
            write_text(folder / "README.md", card(address.repo_id))
        api.upload_folder(repo_id=address.repo_id, folder_path=str(folder), commit_message="Upload model")
        return str(address)
    except UsageError:
        raise
    except Exception as error:  # httpx's, huggingface_hub's, ValueErrors of names: none means more to the user
        status = (
            getattr(getattr(error, "response", None), "status_code", None)
            if isinstance(error, HfHubHTTPError)
            else None
        )
        advice = {
            401: "Log in with `hf auth login`, or set HF_TOKEN to a token that may write.",
            403: "The token may not write there; take one that may, or another name.",
        }.get(status or 0, "Check the name (owner/name), the network, and that you are logged in (`hf auth login`).")
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RunError(
            f"--push_to_hub {name}: not uploaded; {folder} is kept. {advice} The Hub said: {reason}"
        ) from error
