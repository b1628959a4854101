"""Names that other programs give to settings, for suggestions."""

from collections.abc import Collection

from glue_lit.errors import did_you_mean

# Mostly those of run_glue.py and TrainingArguments of Hugging Face. Names with a value stand for one.
USUAL_NAMES = {
    "adam_epsilon": "model.adam_eps",
    "auto_find_batch_size": "model.split_batches",
    "batch_size": "data.batch_size",
    "bf16": "trainer.precision bf16-mixed",
    "cache_dir": "data.cache_dir",
    "checkpoint": "ckpt_path",
    "data": "data.source",
    "data_dir": "data.source",
    "dataloader_num_workers": "data.num_workers",
    "dataset": "data.source",
    "dataset_name": "data.source",
    "dtype": "model.dtype",
    "early_stopping_patience": "early_stopping",
    "epochs": "trainer.max_epochs",
    "eval_batch_size": "data.eval_batch_size",
    "eval_steps": "trainer.val_check_interval",
    "fp16": "trainer.precision 16-mixed",
    "gpus": "trainer.devices",
    "gradient_accumulation_steps": "trainer.accumulate_grad_batches",
    "label_column_name": "data.custom.label",
    "learning_rate": "model.learning_rate",
    "load_in_4bit": "model.quantization 4bit",
    "logging_dir": "trainer.default_root_dir",
    "logging_steps": "trainer.log_every_n_steps",
    "lr": "model.learning_rate",
    "lr_scheduler": "model.schedule",
    "lr_scheduler_type": "model.schedule",
    "max_eval_samples": "data.validation_limit",
    "max_grad_norm": "model.max_grad_norm",
    "max_length": "data.max_length",
    "max_predict_samples": "data.test_limit",
    "max_seq_length": "data.max_length",
    "max_steps": "trainer.max_steps",
    "max_train_samples": "data.train_limit",
    "metric_for_best_model": "checkpoint.monitor",
    "model": "model.name_or_path",
    "model_name": "model.name_or_path",
    "model_name_or_path": "model.name_or_path",
    "model_revision": "model.revision",
    "num_epochs": "trainer.max_epochs",
    "num_train_epochs": "trainer.max_epochs",
    "num_workers": "data.num_workers",
    "optim": "model.optimizer",
    "output_dir": "trainer.default_root_dir",
    "patience": "early_stopping",
    "per_device_eval_batch_size": "data.eval_batch_size",
    "per_device_train_batch_size": "data.batch_size",
    "per_gpu_train_batch_size": "data.batch_size",
    "precision": "trainer.precision",
    "problem_type": "data.custom.kind",
    "resume": "ckpt_path last",
    "resume_from_checkpoint": "ckpt_path last",
    "run_name": "name",
    "save_steps": "checkpoint_every",
    "scheduler": "model.schedule",
    "seed": "seed_everything",
    "source": "data.source",
    "task": "data.task",
    "task_name": "data.task",
    "test_file": "data.custom.test_file",
    "text_column_delimiter": "data.custom.text_separator",
    "text_column_name": "data.custom.text",
    "text_column_names": "data.custom.text",
    "torch_dtype": "model.dtype",
    "train_batch_size": "data.batch_size",
    "train_file": "data.source",
    "trust_remote_code": "model.trust_remote_code",
    "validation_file": "data.custom.validation_file",
    "warmup": "model.warmup",
    "warmup_ratio": "model.warmup",
    "warmup_steps": "model.warmup",
    "wd": "model.weight_decay",
    "weight_decay": "model.weight_decay",
}


def nearest_flag(flag: str, flags: Collection[str]) -> str:
    """``" Did you mean '--x'?"`` for a flag that does not exist, by its usual name or else its spelling; or ``""``.

    Args:
        flag: With or without dashes.
        flags: Those that exist, written in the same way.
    """
    dashes = "--" if flag.startswith("--") else ""
    name = flag.removeprefix("--").lower().replace("-", "_")
    usual = f"{dashes}{USUAL_NAMES.get(name) or USUAL_NAMES.get(name.rpartition('.')[2], '')}"
    return f" Did you mean {usual!r}?" if usual.partition(" ")[0] in flags else did_you_mean(flag, flags)
