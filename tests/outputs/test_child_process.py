import pytest

from glue_lit.outputs.child_process import what_it_said


@pytest.mark.parametrize(
    ("status", "errors", "message"),
    [
        (1, "a warning\nglue-lit: error (rank 1): no room.\nand a note\n", "no room."),
        (-9, "", "Its process was ended by SIGKILL; SIGKILL often means that memory ran out."),
        (3, "Traceback\nOops\n", "Its process ended with status 3: Oops"),
        (75, "", "Its process ended with status 75."),
    ],
)
def test_the_error_of_a_failed_process_is_its_last_message(status: int, errors: str, message: str) -> None:
    assert what_it_said(status, errors) == message
