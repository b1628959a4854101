"""The parser's help."""

from glue_lit.cli.parser import Parser, add_trainer_model_and_data


def test_the_trainers_help_names_our_strategies_and_defaults() -> None:
    parser = Parser(exit_on_error=False)
    add_trainer_model_and_data(parser)
    told = " ".join(parser.format_help().split())
    assert "fsdp2, each with a part of it" in told
    assert "Default: ``'32-true'``" not in told  # Lightning's; without a setting the machine decides
    assert "Stop after this many epochs" in told
