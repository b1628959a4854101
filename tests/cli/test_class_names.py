"""Short names of classes: PyTorch's, also where another imported package has a class of the same name."""

from pathlib import Path

import pytest
import torch
import yaml
from command_line import glue_lit

from glue_lit.cli.class_names import full_name, name_classes_in_full


class SGD(torch.optim.SGD):
    """As bitsandbytes has one, which peft imports."""


@pytest.mark.parametrize(
    ("key", "name", "found"),
    [
        ("model.optimizer", "SGD", "torch.optim.SGD"),
        ("model.optimizer", "bitsandbytes.optim.SGD", "bitsandbytes.optim.SGD"),
        ("model.optimizer", "null", "null"),
        ("model.loss", "HuberLoss", "torch.nn.HuberLoss"),
        ("model.loss", "focal", "focal"),
        ("model.loss", "functional", "functional"),
        ("model.schedule", "SGD", "SGD"),
    ],
)
def test_a_class_of_pytorch_has_its_import_path(key: str, name: str, found: str) -> None:
    assert full_name(key, name) == found


def test_a_configuration_names_it_as_a_text_or_by_class_path() -> None:
    for optimizer in ("SGD", {"class_path": "SGD", "init_args": {"momentum": 0.9}}):
        root = yaml.compose(yaml.safe_dump({"model": {"optimizer": optimizer}}))
        assert name_classes_in_full(root)
        assert "torch.optim.SGD" in yaml.serialize(root)
    assert not name_classes_in_full(yaml.compose("model: {optimizer: null}"))
    assert not name_classes_in_full(yaml.compose("SGD"))


@pytest.mark.parametrize("form", ["flag", "file"])
def test_an_imported_class_of_the_same_name_is_no_obstacle(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert SGD in torch.optim.SGD.__subclasses__()
    file = tmp_path / "fit.yaml"
    file.write_text("model: {optimizer: {class_path: SGD, init_args: {momentum: 0.5}}}")
    given = (
        ["--model.optimizer", "SGD", "--model.optimizer.momentum=0.5"] if form == "flag" else ["--config", str(file)]
    )
    assert glue_lit(monkeypatch, "fit", "--data.task=rte", "--model.name_or_path=x", *given, "--print_config") == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["model"]["optimizer"]["class_path"] == "torch.optim.SGD"
    assert found["model"]["optimizer"]["init_args"]["momentum"] == 0.5
