"""The cases for the simulated accelerator: every option of a fit, and which of them are also resumed."""

from typing import Any

# By name: settings of the trainer, of the model, and of the data.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}, {}),
    "pairs": ({}, {}, {"task": "rte", "truncation": "head_tail"}),
    "regression": ({}, {}, {"task": "stsb", "both_orders": True}),
    "three labels, two splits": ({}, {}, {"task": "mnli"}),
    "own data with class weights": ({}, {"label_smoothing": 0.1}, {"task": "reviews"}),
    "own data with several labels a row": ({}, {"label_smoothing": 0.1}, {"task": "comments"}),
    "lora": ({}, {"peft": {"peft_type": "LORA", "r": 4}}, {}),
    "average": ({}, {"average": 0.9}, {}),
    "freeze": ({}, {"freeze": 1}, {}),
    "layer_decay": ({}, {"layer_decay": 0.8}, {}),
    "r_drop": ({}, {"r_drop": 1.0, "label_smoothing": 0.1}, {}),
    "accumulation": ({"accumulate_grad_batches": 2}, {}, {}),
    "init_from": ({}, {"init_from": "plain"}, {"task": "rte"}),
    "non-finite": ({}, {"non_finite": "skip"}, {}),
    "tokens_per_batch": ({}, {}, {"tokens_per_batch": 256, "group_by_length": True, "pad_to_multiple_of": 8}),
    "clipping by value": ({"gradient_clip_val": 1e-3, "gradient_clip_algorithm": "value"}, {}, {}),
    "no clipping": ({}, {"max_grad_norm": 0.0}, {}),
    "float64": ({"precision": "64-true"}, {}, {}),
    "bfloat16": ({"precision": "bf16-mixed"}, {}, {}),
    "bfloat16 weights": ({"precision": "bf16-true"}, {"average": 0.9}, {}),
    "scaled float16": ({"precision": "16-mixed"}, {}, {}),
    "dropout": ({}, {"dropout": 0.1}, {}),
    "sgd": ({}, {"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}, "learning_rate": 0.1,
                 "adam_eps": 1e-8}, {}),
    "muon": ({}, {"optimizer": {"class_path": "torch.optim.Muon", "init_args": {}}}, {}),
    "batches in parts": ({}, {"split_batches": True}, {}),
    "own data with batches in parts": (
        {"accumulate_grad_batches": 2}, {"split_batches": True, "r_drop": 1.0, "gradient_checkpointing": True},
        {"task": "reviews"}),
    "windows": ({}, {"windows": {"length": 16, "stride": 4}}, {"windows": {"length": 16, "stride": 4}}),
    "tokens on the processor": ({}, {}, {"tokens_on_device": False}),
    "padding-free": ({}, {"r_drop": 1.0}, {"padding_free": True, "group_by_length": False}),
    "own data with the focal loss": ({}, {"loss": "focal"}, {"task": "reviews"}),
    "loss by class": ({}, {"loss": {"class_path": "torch.nn.HuberLoss", "init_args": {}}}, {"task": "stsb"}),
    "decoder": ({}, {"peft": {"peft_type": "LORA", "r": 4}, "gradient_checkpointing": True}, {"kind": "llama"}),
    "frozen in bfloat16": ({"precision": "bf16-mixed"}, {"freeze": 1, "dtype": "bfloat16"}, {}),
}  # fmt: skip
RESUMED = ("plain", "average", "lora", "dropout", "bfloat16", "scaled float16")
# The other cases take half a minute, and the code that only they run seldom changes.
QUICK = (
    "plain", "regression", "own data with class weights", "own data with several labels a row", "lora", "average",
    "non-finite", "bfloat16", "scaled float16",
)  # fmt: skip
QUICK_RESUMED = ("plain", "average")
