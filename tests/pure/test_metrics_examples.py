"""Alert rules and dashboard name metrics that exist; promtool accepts and tests the rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_metrics_exposition import everything

EXAMPLES = Path(__file__).parents[2] / "examples" / "prometheus"
NAME = re.compile(r"\b(?:camd|process)_[a-z_]+\b")


def exposed() -> set[str]:
    return {name for name, _ in everything()}


def expressions() -> Iterator[str]:
    board = json.loads((EXAMPLES / "dashboard.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (each["query"]["query"] for each in board["templating"]["list"][1:])
    rules = (EXAMPLES / "rules.yml").read_text(encoding="utf-8")
    yield from re.findall(r"expr: (?:\|\n\s+)?(.+)", rules)


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_an_expression_names_metrics_that_exist(expression: str) -> None:
    named = set(NAME.findall(expression))
    assert named or expression.startswith("up{")
    assert named <= exposed()


def test_every_rule_has_an_expression_that_was_compared() -> None:
    rules = (EXAMPLES / "rules.yml").read_text(encoding="utf-8")
    assert rules.count("- alert:") == len(re.findall(r"expr: (?:\|\n\s+)?(.+)", rules))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "command", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")]
)
def test_promtool_accepts_the_rules(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *command], cwd=EXAMPLES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_metrics() -> None:
    from test_metrics_exposition import full_text

    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=full_text(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
