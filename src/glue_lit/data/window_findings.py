"""Say which documents become several windows."""

from collections.abc import Iterator, Sequence

from glue_lit.data.batches import TokenDataset
from glue_lit.data.finding import ExaminedSplit, Finding
from glue_lit.data.findings import plural
from glue_lit.data.windows import WindowDataset


def find_windows(parts: Sequence[ExaminedSplit], datasets: Sequence[TokenDataset]) -> Iterator[Finding]:
    """Find documents that are longer than a window; nothing without windows.

    Args:
        parts: The splits.
        datasets: The documents of each.
    """
    for part, dataset in zip(parts, datasets, strict=True):
        if isinstance(dataset, WindowDataset) and bool((dataset.counts > 1).any()):
            yield _finding(part, dataset)


def _finding(part: ExaminedSplit, dataset: WindowDataset) -> Finding:
    longest = int(dataset.counts.argmax())
    row, several = int(dataset.examples[longest]), int((dataset.counts > 1).sum())
    total, most = int(dataset.counts.sum()), int(dataset.counts[longest])
    trained = f", of which {len(dataset):,} are trained on" if len(dataset) < total else ""
    tokens = int(dataset.store.lengths[row])
    return Finding(
        f"{part.split.name} documents in several windows",
        f"{several:,} of {plural(len(dataset.examples), 'document')}; {plural(total, 'window')} in all{trained}",
        f"{part.place(row)}: {tokens:,} tokens, {plural(most, 'window')}",
        f"Nothing: each is scored once, by the {dataset.windows.pooling} of its windows' logits",
    )
