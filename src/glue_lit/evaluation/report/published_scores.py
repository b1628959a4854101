"""Published scores on GLUE's validation rows, times 100, for reports on suites.

Sources: bert-base-cased, the table of transformers' `run_glue` README; modernbert-base, Warner et al. 2024
(https://arxiv.org/abs/2412.13663), table 5; deberta-v3-base and distilbert-base-uncased, their authors' README and
model card. If a task has several metrics and a source does not name the one it reports, its score is left out here; the
comments of the recipes in `configs/recipes` have all of them.
"""

from collections.abc import Mapping

PUBLISHED: Mapping[str, Mapping[tuple[str, str], float]] = {
    "bert-base-cased": {
        ("cola", "matthews_correlation"): 56.53, ("sst2", "accuracy"): 92.32, ("mrpc", "accuracy"): 84.07,
        ("mrpc", "f1"): 88.85, ("stsb", "pearson"): 88.64, ("stsb", "spearmanr"): 88.48, ("qqp", "accuracy"): 90.71,
        ("qqp", "f1"): 87.49, ("mnli", "val_matched/accuracy"): 83.91, ("mnli", "val_mismatched/accuracy"): 84.10,
        ("qnli", "accuracy"): 90.66, ("rte", "accuracy"): 65.70, ("wnli", "accuracy"): 56.34,
    },
    "modernbert-base": {
        ("cola", "matthews_correlation"): 65.1, ("sst2", "accuracy"): 96.0, ("qnli", "accuracy"): 93.9,
        ("rte", "accuracy"): 87.4,
    },
    "deberta-v3-base": {("mnli", "val_matched/accuracy"): 90.6, ("mnli", "val_mismatched/accuracy"): 90.7},
    "distilbert-base-uncased": {("sst2", "accuracy"): 91.3},
}  # fmt: skip
COMMON = "bert-base-cased"  # shown beside models without published scores


def published_for(models: list[str]) -> list[str]:
    """Models whose published scores to show beside a suite: those of the suite or, if none is published, `COMMON`."""
    own = dict.fromkeys(model.rstrip("/").rpartition("/")[2].lower() for model in models)
    return [name for name in own if name in PUBLISHED] or [COMMON]
