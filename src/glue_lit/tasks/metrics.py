"""The registry of metrics: what each is, its range and direction, its parameters, and the tasks that it is for.

`glue_lit.evaluation.formulas` computes them. Everything else reads this table: settings, checks, `glue-lit metrics`,
the report, TensorBoard and the model card.
"""

from dataclasses import dataclass
from typing import Literal

# one label a row, any number of labels, one of labels in order, a number
Kind = Literal["classification", "multi_label", "ordinal", "regression"]
Average = Literal["micro", "macro", "weighted", "samples"]
# counts: how often each class is gold, predicted and both; distances: also the squared distance of their numbers;
# rows: the mean of a value of each row's predicted labels; means: that of each row's probabilities; ranking: the
# probabilities of all rows; scores: all scores
Needs = Literal["counts", "distances", "rows", "means", "ranking", "scores"]


@dataclass(frozen=True)
class MetricSpec:
    """A metric of the registry.

    Attributes:
        title: Its name in reports.
        formula: What it is, in words.
        reference: The function of scikit-learn or SciPy that gives the same value.
        needs: What it is computed from.
        low: Lowest value; ``None`` if there is none.
        high: Highest value; ``None`` if there is none.
        lower_is_better: Whether a lower value is better.
        kinds: The kinds of task that it is for.
        parameters: The parameters that it takes.
        hub_id: Its name among the metrics of the Hub; empty if it has none.
        undefined: When it has no value, in words; empty if it always has one.
    """

    title: str
    formula: str
    reference: str
    needs: Needs = "counts"
    low: float | None = 0
    high: float | None = 1
    lower_is_better: bool = False
    kinds: tuple[Kind, ...] = ("classification",)
    parameters: tuple[str, ...] = ()
    hub_id: str = ""
    undefined: str = ""

    @property
    def is_of_positive(self) -> bool:
        """Whether it describes one positive label unless it averages over labels."""
        return "average" in self.parameters


_REGRESSION: tuple[Kind, ...] = ("regression", "ordinal")
_ONE: tuple[Kind, ...] = ("classification", "ordinal")
_MULTI_LABEL: tuple[Kind, ...] = ("multi_label",)
_LABELS: tuple[Kind, ...] = ("classification", "multi_label")
_OF_LABEL = ("positive", "average")
_DIVERGED = "a probability is not a number: the model has diverged"
_ONE_LABEL = "a label never occurs among the gold labels, or has all of them"
_CONSTANT = "all predictions (or all gold scores) are the same"

METRICS = {
    "accuracy": MetricSpec(
        "Accuracy", "share of rows that get their gold label", "accuracy_score", kinds=_ONE,
        hub_id="accuracy",
    ),
    "balanced_accuracy": MetricSpec(
        "Balanced accuracy", "mean recall of the labels that occur", "balanced_accuracy_score", kinds=_ONE
    ),
    "precision": MetricSpec(
        "Precision", "share of the rows predicted as a label that have it", "precision_score",
        kinds=_LABELS, parameters=_OF_LABEL, hub_id="precision",
    ),
    "recall": MetricSpec(
        "Recall", "share of the rows with a label that are predicted as it", "recall_score",
        kinds=_LABELS, parameters=_OF_LABEL, hub_id="recall",
    ),
    "f1": MetricSpec(
        "F1", "harmonic mean of precision and recall", "f1_score", kinds=_LABELS, parameters=_OF_LABEL,
        hub_id="f1",
    ),
    "fbeta": MetricSpec(
        "F-beta", "weighted harmonic mean: recall counts beta times as much as precision", "fbeta_score",
        kinds=_LABELS, parameters=("beta", *_OF_LABEL),
    ),
    "matthews_correlation": MetricSpec(
        "Matthews correlation", "correlation of gold and predicted labels", "matthews_corrcoef", low=-1,
        hub_id="matthews_correlation",
    ),
    "cohen_kappa": MetricSpec(
        "Cohen's kappa", "agreement beyond that of chance", "cohen_kappa_score", low=-1, kinds=_ONE,
        undefined="all gold and predicted labels are the same",
    ),
    "quadratic_weighted_kappa": MetricSpec(
        "Quadratic weighted kappa", "kappa for labels in order, mistakes weighted by their squared distance",
        "cohen_kappa_score(weights='quadratic')", needs="distances", low=-1, kinds=_ONE,
        undefined="all gold and predicted labels are the same",
    ),
    "auroc": MetricSpec(
        "AUROC", "probability that a row with a label ranks above one without it; the mean of the labels for three "
        "or more", "roc_auc_score(multi_class='ovr')", needs="ranking", kinds=_LABELS, parameters=("positive",),
        hub_id="roc_auc", undefined=_ONE_LABEL,
    ),
    "average_precision": MetricSpec(
        "Average precision", "mean precision over the recall levels; the mean of the labels for three or more",
        "average_precision_score", needs="ranking", kinds=_LABELS, parameters=("positive",), undefined=_DIVERGED,
    ),
    "log_loss": MetricSpec(
        "Log loss", "mean negative log-probability of the gold label, without smoothing and class weights; with any "
        "number of labels a row, of whether it has each of them", "log_loss", needs="means", kinds=_LABELS, high=None,
        lower_is_better=True, undefined=_DIVERGED,
    ),
    "brier_score": MetricSpec(
        "Brier score", "mean squared error of the probabilities; summed over three or more labels of which a row "
        "has one (up to 2)", "brier_score_loss", needs="means", kinds=_LABELS, high=2, lower_is_better=True,
        hub_id="brier_score", undefined=_DIVERGED,
    ),
    "top_k_accuracy": MetricSpec(
        "Top-k accuracy", "share of rows whose gold label is among the k most probable", "top_k_accuracy_score",
        needs="means", parameters=("k",), undefined=_DIVERGED,
    ),
    "subset_accuracy": MetricSpec(
        "Subset accuracy", "share of rows that get exactly their gold labels", "accuracy_score", needs="rows",
        kinds=_MULTI_LABEL,
    ),
    "hamming_loss": MetricSpec(
        "Hamming loss", "share of rows and labels in which gold and prediction differ", "hamming_loss", needs="rows",
        lower_is_better=True, kinds=_MULTI_LABEL,
    ),
    "label_ranking_average_precision": MetricSpec(
        "Label-ranking average precision", "of each gold label of a row, the share of gold ones among the labels that "
        "are at least as probable; 1 for a row that has no label, or all", "label_ranking_average_precision_score",
        needs="means", kinds=_MULTI_LABEL, undefined=_DIVERGED,
    ),
    "pearson": MetricSpec(
        "Pearson correlation", "linear correlation", "pearsonr", "scores", -1, 1, False, _REGRESSION,
        hub_id="pearsonr", undefined=_CONSTANT,
    ),
    "spearmanr": MetricSpec(
        "Spearman correlation", "correlation of the ranks", "spearmanr", "scores", -1, 1, False, _REGRESSION,
        hub_id="spearmanr", undefined=_CONSTANT,
    ),
    "kendall": MetricSpec(
        "Kendall's tau", "share of pairs in the same order minus that of the others, corrected for ties (tau-b)",
        "kendalltau", "scores", -1, 1, False, _REGRESSION, undefined=_CONSTANT,
    ),
    "mae": MetricSpec(
        "Mean absolute error", "mean distance from the gold score", "mean_absolute_error", "scores", 0, None, True,
        _REGRESSION, hub_id="mae", undefined="a prediction is not a number",
    ),
    "mse": MetricSpec(
        "Mean squared error", "mean squared distance from the gold score", "mean_squared_error", "scores", 0, None,
        True, _REGRESSION, hub_id="mse", undefined="a prediction is not a number",
    ),
    "r2": MetricSpec(
        "R²", "share of the variance of the gold scores that the predictions explain", "r2_score", "scores", None, 1,
        False, _REGRESSION, hub_id="r_squared", undefined="there are fewer than two rows",
    ),
}  # fmt: skip
PARAMETERS = {
    "positive": "a label of the task; by default data.custom.positive",
    "average": "micro, macro or weighted (by the labels' rows); for any number of labels a row also samples (the mean "
    "of the rows' own); macro_f1 is short for f1(average=macro)",
    "beta": "a number above 0; 1 by default",
    "k": "a whole number from 1 up, below the number of labels; 2 by default",
}


def metrics_for(kind: Kind | None) -> tuple[str, ...]:
    """Names of the metrics for a kind of task; all for ``None``."""
    return tuple(name for name, spec in METRICS.items() if kind is None or kind in spec.kinds)
