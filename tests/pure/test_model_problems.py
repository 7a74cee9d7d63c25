"""Problems: one text each, and each says what to do."""

from __future__ import annotations

import pytest

from camd.ffmpeg.text.error_patterns import TABLE
from camd.model import Problem, ProblemKind, problems

PROBLEMS = [value for value in vars(problems).values() if isinstance(value, Problem)]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.kind)
def test_every_problem_says_what_to_do(problem: Problem) -> None:
    """A message without a full stop, a suggestion with one, and a kind of one small word."""
    assert isinstance(problem.kind, ProblemKind)
    assert problem.kind.replace("_", "").islower()
    assert problem.message[0].isupper()
    assert problem.message[-1] != "."
    assert problem.suggestion[-1] == "."


def test_a_problem_has_one_text() -> None:
    """No two problems of one kind and ledger cause share a message, whatever else they say."""
    texts = [(problem.kind, problem.message) for problem in PROBLEMS]
    assert len(set(texts)) == len(texts)


def test_what_ffmpeg_logs_leads_to_these_problems() -> None:
    """No pattern has a text of its own."""
    assert {row.problem for row in TABLE} <= set(PROBLEMS)
