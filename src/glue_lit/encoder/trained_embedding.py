"""Train only those rows of the token embedding that the training data use: the same result for less work.

A row whose token never occurs has no gradient, so its moments in AdamW stay 0 and weight decay alone moves it.
Such rows are most of the table (of BERT's 30,522, CoLA uses 5,584), and the table is most of a small model:
its gradient, norm and two moments cost more than the layers do.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer


class TrainedRows(nn.Embedding):
    """An embedding with a trained table of the rows in use, and a fixed one of all rows for the others.

    Its state is that of the embedding that it stands for: one table, ``weight``.

    Args:
        embedding: What it stands for; its table becomes the fixed one.
        tokens: Rows in use, sorted, each once, ``(rows,)`` int64.

    Attributes:
        rows: The trained table, ``(rows, width)``.
    """

    tokens: Tensor
    place: Tensor

    def __init__(self, embedding: nn.Embedding, tokens: Tensor) -> None:
        weight = embedding.weight.detach()
        rows, width = weight.shape
        super().__init__(rows, width, padding_idx=embedding.padding_idx, _weight=weight, _freeze=True)
        tokens = tokens.to(weight.device)
        place = torch.full((len(weight),), -1, dtype=torch.int64, device=weight.device)
        place[tokens] = torch.arange(len(tokens), device=weight.device)
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("place", place, persistent=False)  # of a token's row in the trained table, -1 for none
        self.rows = nn.Parameter(weight[tokens])
        padding = embedding.padding_idx
        used = padding is not None and int(place[padding]) >= 0
        self._padding = int(place[padding]) if used else None  # its row has no gradient
        self.train(embedding.training)

    def forward(self, input: Tensor) -> Tensor:
        """Vectors ``(..., width)`` of token ids ``(...)``.

        Raises:
            IndexError: In training, a token is none of those in use.
        """
        place = self.place[input]
        if self.training:
            return F.embedding(place, self.rows, padding_idx=self._padding)
        trained = F.embedding(place.clamp(min=0), self.rows)
        return torch.where((place >= 0)[..., None], trained, F.embedding(input, self.weight))

    def table(self) -> Tensor:
        """All rows as they are now, ``(all rows, width)``: the fixed table itself, brought up to date."""
        return self.weight.detach().index_copy_(0, self.tokens, self.rows.detach())

    def plain(self) -> nn.Embedding:
        """The embedding that this one stands for, as it is now."""
        rows, width = self.weight.shape
        embedding = nn.Embedding(rows, width, padding_idx=self.padding_idx, _weight=self.table(), _freeze=False)
        return embedding.train(self.training)

    @torch.no_grad()
    def decay(self, factor: float) -> None:
        """Move the rows without a gradient as AdamW's weight decay does: times ``factor``."""
        self.weight.mul_(factor)  # those of the fixed table that are trained elsewhere are never looked at

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.table()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        missing: list[str] = rest[2]
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if f"{prefix}rows" in missing:
            missing.remove(f"{prefix}rows")
        with torch.no_grad():
            self.rows.copy_(self.weight[self.tokens])


def train_rows_in_use(model: nn.Module, tokens: Tensor) -> None:
    """Put `TrainedRows` in the place of a model's token embedding, where that changes nothing but the cost.

    Args:
        model: A Hugging Face model; changed in place.
        tokens: Every token that training batches hold, ``(rows,)`` int64.
    """
    restore_embedding(model)
    found = _token_embedding(model)
    if found is None:
        return
    parent, name, embedding = found
    setattr(parent, name, TrainedRows(embedding, torch.unique(tokens)))


def restore_embedding(model: nn.Module) -> None:
    """Put the plain embedding back, with what was trained."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, TrainedRows):
                setattr(parent, name, child.plain())


def find_trained_rows(model: nn.Module) -> TrainedRows | None:
    """The model's `TrainedRows`, if it has any."""
    return next((module for module in model.modules() if isinstance(module, TrainedRows)), None)


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """How many weights a model has, and how many of them are trained; a `TrainedRows` counts as what it stands for."""
    table = find_trained_rows(model)
    doubled, others = (table.rows.numel(), table.weight.numel() - table.rows.numel()) if table is not None else (0, 0)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes) - doubled, sum(size for size, is_trained in sizes if is_trained) + others


@contextmanager
def count_embedding_once(model: nn.Module) -> Iterator[None]:
    """Let a `TrainedRows` have the parameters of what it stands for, to whoever counts them meanwhile."""
    table = find_trained_rows(model)
    if table is None:
        yield
        return
    rows = table._parameters.pop("rows")
    table.weight.requires_grad_(True)
    try:
        yield
    finally:
        table.weight.requires_grad_(False)
        table._parameters["rows"] = rows


def _token_embedding(model: Any) -> tuple[nn.Module, str, nn.Embedding] | None:
    """The module that holds the token embedding, its name there, and itself; nothing if it is an unusual one."""
    try:
        embedding = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    places = [(parent, name) for parent in model.modules() for name, child in parent._modules.items()
              if child is embedding]  # fmt: skip
    if type(embedding) is not nn.Embedding or len(places) != 1:
        return None
    weight = embedding.weight
    tied = sum(parameter is weight for _, parameter in model.named_parameters(remove_duplicate=False)) > 1
    unusual = embedding.max_norm is not None or embedding.scale_grad_by_freq or embedding.sparse
    if tied or unusual or not weight.requires_grad or weight.device.type == "meta":
        return None
    return (*places[0], embedding)


def decay_unused_rows(optimizer: Optimizer, table: TrainedRows) -> None:
    """Let the rows without a gradient decay at every step that the optimizer takes."""
    groups = [any(p is table.rows for p in group["params"]) for group in optimizer.param_groups]
    if True not in groups:
        return

    def after_step(*_: Any) -> None:
        group = optimizer.param_groups[groups.index(True)]  # loading a state puts new ones in their place
        factor = 1 - float(group["lr"]) * group["weight_decay"]
        if table.rows.grad is not None and factor != 1:
            table.decay(factor)

    optimizer.register_step_post_hook(after_step)


def saved_rows_in_use(checkpoint: dict[str, Any]) -> Tensor | None:
    """The rows in use when a checkpoint was written, ``(rows,)``; ``None`` if it has moments of all of them."""
    tokens = checkpoint.get("glue_lit", {}).get("rows")
    return None if tokens is None else tokens.clone()


def align_moments(model: nn.Module, parameters: Sequence[Tensor], checkpoint: dict[str, Any]) -> None:
    """Give AdamW's moments in a checkpoint the rows in use now; a row that was not in use has moments of 0.

    Args:
        model: As it is trained now.
        parameters: Those of the optimizer, in its order.
        checkpoint: Its ``optimizer_states`` are changed in place.
    """
    table, before = find_trained_rows(model), saved_rows_in_use(checkpoint)
    number = next((n for n, p in enumerate(parameters) if table is not None and p is table.rows), None)
    if table is None or number is None:
        return
    for state in checkpoint.get("optimizer_states", ()):
        values = state["state"].get(number, {})
        for key in values.keys() & {"exp_avg", "exp_avg_sq"}:
            moment = values[key]
            old = torch.arange(len(moment), device=moment.device) if before is None else before
            whole = moment.new_zeros(table.num_embeddings, moment.shape[1]).index_copy(0, old.to(moment.device), moment)
            values[key] = whole[table.tokens.to(moment.device)]
