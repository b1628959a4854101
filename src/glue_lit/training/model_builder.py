"""Build a classifier's Hugging Face model from pretrained weights, another run's encoder, or a checkpoint."""

from collections.abc import Mapping
from typing import Any

import torch

from glue_lit.encoder.adapters import add_adapters, check_same_adapters, requested_adapters
from glue_lit.encoder.attention_mask import build_masks_on_device
from glue_lit.encoder.base_weights import check_base, check_same_quantization, fill_in, leave_out, names_from_base
from glue_lit.encoder.build import Built, build_from_architecture, build_from_run, build_pretrained, score_in_float32
from glue_lit.encoder.cheap_attention import cheapen_attention, register_attention
from glue_lit.encoder.cheap_dropout import cheapen_dropout, set_dropout
from glue_lit.encoder.compiling import check_can_be_compiled, is_asked
from glue_lit.encoder.first_token import shorten_last_layer
from glue_lit.encoder.frozen_weights import can_wait, read_waiting
from glue_lit.encoder.gradient_checkpointing import checkpoint_gradients
from glue_lit.encoder.layers import freeze_layers
from glue_lit.encoder.limits import check_kernels
from glue_lit.encoder.merging import check_can_be_merged
from glue_lit.encoder.packing import allow_packing
from glue_lit.encoder.reformer import make_reproducible
from glue_lit.encoder.sparse_attention import choose_attention_by_length
from glue_lit.encoder.waiting_weights import linear_layers_wait
from glue_lit.runs.checkpoints import ADAPTERS_ALONE, WHOLE, read_checkpoint
from glue_lit.runs.run import best_checkpoint
from glue_lit.system.version import __version__
from glue_lit.tasks.glue import TaskSpec


class ModelBuilder:
    """Builds the model of a classifier, and describes it in checkpoints so that it can be built again.

    Args:
        task: Names the labels.
        settings: The hyperparameters of `SequenceClassifier`.
        architecture: The model's configuration as JSON, if its weights come from a checkpoint.
        base: The checkpoint's record of its base model, if it holds only adapters.

    Attributes:
        has_trained_head: Whether the pretrained weights include a head for this task; known once the model is built.
        commit: Commit of the pretrained weights on the Hub; ``None`` for a folder.
        peft: Settings of the adapters, completed by peft when the model is built; ``None`` for no adapters.
    """

    def __init__(
        self,
        task: TaskSpec,
        settings: Mapping[str, Any],
        architecture: str | None,
        base: dict[str, Any] | None = None,
    ) -> None:
        self.has_trained_head = False
        self.commit: str | None = None
        self.peft: dict[str, Any] | None = settings["peft"]
        self._task, self._settings, self._architecture = task, settings, architecture
        self._base: dict[str, Any] | None = base  # what is known of the base model's files
        self._of_base: list[str] = []  # parameters that a checkpoint of adapters leaves out
        self._frozen: list[str] | None = None  # parameters that the pretrained model does not train
        self._asked_peft: dict[str, Any] | None = None  # the adapters' settings as the user wrote them

    def build(
        self,
        must_have_trained_head: bool = False,
        padding: int | None = None,
        without_values: bool = False,
        precision: str | None = None,
    ) -> Any:
        """The model, in training mode and on the processor, with parameters frozen or adapted as the settings ask.

        Args:
            must_have_trained_head: Raise if the pretrained weights have no head for this task.
            padding: Padding id for the model's configuration; ``None`` for its own.
            without_values: Build it on the device ``meta``, because the values come from another process.
            precision: The trainer's precision in a fit, so that frozen weights can be read in half precision at once.

        Raises:
            ModelError: The model cannot be loaded, or a checkpoint's labels are not the task's.
        """
        # Within Lightning's ``torch.device("cuda")``, transformers asks for accelerate, and a head gets other numbers.
        with torch.device("meta" if without_values else "cpu"):
            of_run = self._architecture is None and self._settings["init_from"] is not None
            wait = can_wait(self._settings, self.peft, precision) and not (without_values or of_run)
            with linear_layers_wait(wait) as waiting:
                built = self._build(must_have_trained_head, padding)
            model = self._prepared(built)
            read_waiting(model, waiting, self._settings["dtype"], str(precision))
            # from_pretrained returns it in eval mode, and Lightning would leave it so: training without dropout.
            return model.train()

    def _prepared(self, built: Built) -> Any:
        settings = self._settings
        model, self.has_trained_head = built.model, built.has_trained_head
        self.commit = built.commit or self.commit
        check_kernels(model)
        if is_asked(settings["compile"]):
            check_can_be_compiled(model, settings["compile"])
        make_reproducible(model)
        self._freeze_as_pretrained(model)
        choose_attention_by_length(model)
        build_masks_on_device()
        if settings["freeze"] is not None:
            freeze_layers(model, settings["freeze"])
        score_in_float32(model)
        if settings["dropout"] is not None:
            set_dropout(model, settings["dropout"])
        cheapen_dropout(model)
        register_attention()
        if settings["attention"] is None:
            cheapen_attention(model)
        allow_packing(model)
        shorten_last_layer(model)
        self._adapt(model, built)
        if settings["gradient_checkpointing"]:
            checkpoint_gradients(model)
        return model

    def _adapt(self, model: Any, built: Built) -> None:
        """Add the adapters, if there are any."""
        if self.peft is None:
            return
        self._asked_peft = self._asked_peft or dict(self.peft)
        before = dict(model.named_parameters(remove_duplicate=False))
        self.peft = add_adapters(model, self.peft, built.new)
        self._base, self._of_base = built.base, names_from_base(model, before, built.not_loaded)
        if self._architecture is None:  # never train what cannot be exported
            check_can_be_merged(model)

    def _build(self, must_have_trained_head: bool, padding: int | None) -> Built:
        if self._architecture is not None:
            return build_from_architecture(self._task, self._settings, self._architecture, padding, self._base)
        if (origin := self._settings["init_from"]) is not None:
            return build_from_run(self._task, self._settings, read_checkpoint(best_checkpoint(origin)), padding)
        return build_pretrained(self._task, self._settings, must_have_trained_head, padding)

    def _freeze_as_pretrained(self, model: Any) -> None:
        """Freeze what the pretrained model freezes; RoFormer built without weights freezes other parameters."""
        if self._architecture is None:
            self._frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(name not in (self._frozen or ()))

    def use_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let `build` use a checkpoint's configuration, without the Hub; its weights are loaded afterwards.

        Raises:
            UsageError: The checkpoint's adapters are not those of the settings.
            ModelError: The base model of the checkpoint's adapters is not there, or is another one.
        """
        settings, own = checkpoint["hyper_parameters"], checkpoint.get("glue_lit") or {}
        self._architecture, self._base = settings["architecture"], settings.get("base")
        self.commit = own.get("model_commit")
        self._frozen = own["fixed"] if isinstance(own.get("fixed"), list) else None
        self._asked_peft = requested_adapters(checkpoint)
        self.peft = check_same_adapters(self._settings["peft"], settings.get("peft"), self._asked_peft)
        check_same_quantization(self._settings["quantization"], self._base)
        if self._base is not None:
            check_base(self._settings, self._base)

    def restore(self, model: Any, checkpoint: dict[str, Any]) -> None:
        """Take over the commit of a checkpoint's pretrained weights, and complete its weights by the base model's."""
        self.commit = (checkpoint.get("glue_lit") or {}).get("model_commit", self.commit)
        fill_in(checkpoint, model)

    def describe(self, model: Any, checkpoint: dict[str, Any]) -> None:
        """Write the model's configuration into a checkpoint; leave out the weights that the base model has."""
        architecture = model.config.to_json_string(use_diff=False)
        settings = {**checkpoint.get("hyper_parameters", {}), "architecture": architecture, "peft": self.peft}
        if self._base is not None:
            settings["base"] = self._base | {"weights": leave_out(checkpoint, self._of_base)}
        checkpoint["hyper_parameters"] = settings
        checkpoint.setdefault("glue_lit", {}).update(
            format=ADAPTERS_ALONE if self._base is not None else WHOLE,
            version=__version__,
            model_commit=self.commit,
            fixed=self._frozen,
            peft=self._asked_peft,
        )
