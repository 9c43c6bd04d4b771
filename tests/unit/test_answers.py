"""The reason in an answer of Redis, whichever version gave it and however the client cut it up."""

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from process.redis.answers import answer_of, reason_of

IN_6_2 = "Error running script (call to f_de51): @user_script:110: @user_script: 110: "


@pytest.mark.parametrize(
    ("exc", "reason", "answer"),
    [
        (
            OutOfMemoryError("command not allowed.", status_code="OOM"),
            "OOM",
            "OOM command not allowed.",
        ),
        (
            OutOfMemoryError(
                "command not allowed. script: de51, on @user_script:110.", status_code="OOM"
            ),
            "OOM",
            "OOM command not allowed.",
        ),
        (
            ResponseError("NOREPLICAS Not enough. script: on @user_script:110."),
            "NOREPLICAS",
            "NOREPLICAS Not enough.",
        ),
        (
            ResponseError(f"{IN_6_2}-OOM command not allowed.", status_code="ERR"),
            "OOM",
            "OOM command not allowed.",
        ),
        (
            ResponseError(
                "Error running script (call to f_de51): @user_script:30: WRONGTYPE Operation",
                status_code="ERR",
            ),
            "WRONGTYPE",
            "WRONGTYPE Operation",
        ),
        (
            ResponseError(
                f"{IN_6_2}The user executing the script can't run this command or subcommand",
                status_code="ERR",
            ),
            "NOPERM",
            f"NOPERM {IN_6_2}The user executing the script can't run this command or subcommand",
        ),
        (
            ResponseError(
                "ACL failure in script: User u has no permissions to run the 'xadd' command"
                " script: on @user_script:110.",
                status_code="ERR",
            ),
            "NOPERM",
            "NOPERM ACL failure in script: User u has no permissions to run the 'xadd' command",
        ),
        (ResponseError("unknown command", status_code="ERR"), "ERR", "ERR unknown command"),
        (ResponseError("Protocol error, got x"), "ERR", "ERR Protocol error, got x"),
        (ResponseError(""), "ERR", "ERR "),
    ],
)
def test_the_reason_and_the_answer_are_found(exc: Exception, reason: str, answer: str) -> None:
    assert reason_of(exc) == reason
    assert answer_of(exc) == answer
