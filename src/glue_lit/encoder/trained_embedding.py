"""Train only those rows of the token embedding that the training data use: the same result for less work.

A row whose token never occurs has no gradient, so its AdamW moments stay 0 and only weight decay changes it. Most rows
are unused (CoLA uses 5,584 of BERT's 30,522), and most weights of a small model are in this table, whose gradient, norm
and moments take longer than the layers. That is why this module earns its keep.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from glue_lit.encoder.quantization import whole_size

_STEPS = 64  # steps whose decay is applied at once
_BLOCK = 2**17  # weights that are decayed at once, which fit into a processor's cache


class TrainedRows(nn.Embedding):
    """An embedding with a trained table of the rows in use, and a fixed table of all rows.

    Its state is the same as that of the embedding that it replaces: one table, ``weight``. Within a training, read it
    by `table` or ``state_dict()``, since ``weight`` lacks what the rows in use have learned, and the last decays.

    Args:
        embedding: The embedding to replace, whose table becomes the fixed one.
        tokens: Sorted tokens whose rows are in use, ``(rows,)`` int64.

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
        self.register_buffer("place", place, persistent=False)  # position of each token's row in `rows`, or -1
        self.rows = nn.Parameter(weight[tokens])
        padding = embedding.padding_idx
        used = padding is not None and int(place[padding]) >= 0
        self._padding = int(place[padding]) if used else None  # position of the row without a gradient
        self._factors: list[float] = []  # of the steps whose decay has not been applied yet
        self.train(embedding.training)

    def forward(self, input: Tensor) -> Tensor:
        """Look up the vectors ``(..., width)`` of token ids ``(...)``.

        Raises:
            IndexError: In training, the row of a token is not in use.
        """
        place = self.place[input]
        if self.training:
            return F.embedding(place, self.rows, padding_idx=self._padding)
        trained = F.embedding(place.clamp(min=0), self.rows)
        return torch.where((place >= 0)[..., None], trained, F.embedding(input, self.weight))

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; an evaluation may read any row, so all decays are applied before."""
        if not mode:
            self.apply_decays()
        return super().train(mode)

    def table(self) -> Tensor:
        """Copy the trained rows into the fixed table and return it, ``(all rows, width)``."""
        self.apply_decays()
        return self.weight.detach().index_copy_(0, self.tokens, self.rows.detach())

    def plain(self) -> nn.Embedding:
        """The plain embedding with the current weights."""
        rows, width = self.weight.shape
        embedding = nn.Embedding(rows, width, padding_idx=self.padding_idx, _weight=self.table(), _freeze=False)
        return embedding.train(self.training)

    @torch.no_grad()
    def decay(self, factor: float | Tensor, at_once: bool = True) -> None:
        """Multiply the rows without a gradient by ``factor``, as AdamW's weight decay does.

        Args:
            factor: A number, or a tensor ``()`` on the table's device.
            at_once: Whether the table must be right afterwards; else it may be multiplied later.
        """
        if not at_once and self.training and isinstance(factor, float):
            self._factors.append(factor)
            if len(self._factors) >= _STEPS:
                self.apply_decays()
            return
        self.apply_decays()
        self.weight.mul_(factor)  # also the rows in use, which are read from `rows` only

    @torch.no_grad()
    def apply_decays(self) -> None:
        """Apply the decays that were put off, with the results that they would have had at once, bit by bit.

        A decay is a pass over a table that fits into no cache. Here each part of it is multiplied by all factors in
        turn while the cache holds it.
        """
        factors, self._factors = self._factors, []
        if factors:
            for block in torch.split(self.weight, max(1, _BLOCK // self.embedding_dim)):
                for factor in factors:
                    block.mul_(factor)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.table()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        missing: list[str] = rest[2]
        self.apply_decays()
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if f"{prefix}rows" in missing:
            missing.remove(f"{prefix}rows")
        with torch.no_grad():
            self.rows.copy_(self.weight[self.tokens])


def train_rows_in_use(model: nn.Module, tokens: Tensor) -> None:
    """Replace a Hugging Face model's token embedding by `TrainedRows`, in place, if that changes only the cost.

    ``tokens`` are all tokens in training batches, ``(rows,)`` int64.
    """
    restore_embedding(model)
    if (found := _token_embedding(model)) is not None:
        parent, name, embedding = found
        setattr(parent, name, TrainedRows(embedding, torch.unique(tokens)))


def restore_embedding(model: nn.Module) -> None:
    """Replace `TrainedRows` by the plain embedding with the trained weights, in place."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, TrainedRows):
                setattr(parent, name, child.plain())


def find_trained_rows(model: nn.Module) -> TrainedRows | None:
    """Find the model's `TrainedRows`, if it has them."""
    return next((module for module in model.modules() if isinstance(module, TrainedRows)), None)


@contextmanager
def count_embedding_once(model: nn.Module) -> Iterator[None]:
    """Temporarily give `TrainedRows` the parameters of a plain embedding, for code that counts them."""
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


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Number of weights of a model, and of its trained ones, with a plain embedding in place of `TrainedRows`."""
    with count_embedding_once(model):
        sizes = [(whole_size(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, is_trained in sizes if is_trained)


def _token_embedding(model: Any) -> tuple[nn.Module, str, nn.Embedding] | None:
    """The token embedding's parent module, its name there, and the embedding; ``None`` for an unusual one."""
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


def decay_unused_rows(optimizer: Optimizer, table: TrainedRows, at_once: bool = True) -> None:
    """Make the rows without a gradient decay at each step of the optimizer.

    Args:
        optimizer: Trains the rows in use.
        table: Has them.
        at_once: Whether the table must be right after each step, as `TrainedRows.decay` has it.
    """
    groups = [any(p is table.rows for p in group["params"]) for group in optimizer.param_groups]
    if True not in groups:
        return

    def after_step(*_: Any) -> None:
        group = optimizer.param_groups[groups.index(True)]  # looked up each time, because loading a state replaces it
        factor = 1 - float(group["lr"]) * group["weight_decay"]
        if table.rows.grad is not None and factor != 1:
            is_skipped = getattr(optimizer, "found_inf", None)  # then the weights of a skipped step stay as they are
            if is_skipped is not None:
                factor = is_skipped.new_full((), factor).where(is_skipped == 0, 1)
            table.decay(factor, at_once)

    optimizer.register_step_post_hook(after_step)


def saved_rows_in_use(checkpoint: dict[str, Any]) -> Tensor | None:
    """Tokens of the rows in use when a checkpoint was written, ``(rows,)``; ``None`` if all rows had moments."""
    tokens = checkpoint.get("glue_lit", {}).get("rows")
    return None if tokens is None else tokens.clone()


def align_moments(model: nn.Module, parameters: Sequence[Tensor], checkpoint: dict[str, Any]) -> None:
    """Rearrange AdamW's moments in a checkpoint to match the rows in use now; rows that were not in use get 0.

    Args:
        model: The model of the resumed fit.
        parameters: Parameters of its optimizer, in order.
        checkpoint: Its ``optimizer_states`` are changed in place.
    """
    table, before = find_trained_rows(model), saved_rows_in_use(checkpoint)
    if table is None and before is None:
        return
    if table is None:  # every row is in use now
        plain = _token_embedding(getattr(model, "model", model))
        trained, rows = (None, 0) if plain is None else (plain[2].weight, plain[2].num_embeddings)
    else:
        trained, rows = table.rows, table.num_embeddings
    number = next((n for n, p in enumerate(parameters) if p is trained), None)
    for state in checkpoint.get("optimizer_states", ()):
        values = state["state"].get(number, {})
        for key in values.keys() & {"exp_avg", "exp_avg_sq"}:
            moment = values[key]
            old = torch.arange(len(moment), device=moment.device) if before is None else before
            whole = moment.new_zeros(rows, moment.shape[1]).index_copy(0, old.to(moment.device), moment)
            values[key] = whole if table is None else whole[table.tokens.to(moment.device)]
