"""The configuration of a fit, written into its run directory."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from glue_lit.encoder.limits import MIXED
from glue_lit.system.files import write_text
from glue_lit.system.run_log import open_log


class SaveConfig(SaveConfigCallback):
    """Write ``config.yaml`` when a fit starts; evaluations leave the run as it is."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save all settings except the checkpoint that this fit resumes, which is not a setting of the run."""
        if stage == "fit":
            is_resumed = self.config["ckpt_path"] is not None
            self.config = self.config.clone()
            self.config["ckpt_path"] = None
            if str(trainer.precision) == "32-true" and self.config["trainer.precision"] in MIXED:
                self.config["trainer.precision"] = "32-true"  # the model does not run in the machine's fast precision
            folder = trainer.log_dir  # collective under DDP
            if trainer.is_global_zero and folder is not None and not self.already_saved:
                # Lightning would write in place, and could leave a resumed run with half a file.
                text = self.parser.dump(self.config, skip_none=False)
                write_text(Path(folder) / self.config_filename, text)
                open_log(Path(folder), is_resumed)
                self.already_saved = True
