"""The page for senders: it shows the examples as they are run, names every problem, and points at what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "senders.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["push.sh", "push.py", "Push.java", "events.json"])
def test_each_example_stands_on_the_page_as_it_is_run(name: str) -> None:
    assert (ROOT / "docs" / "examples" / name).read_text(encoding="utf-8").rstrip("\n") in PAGE


def test_every_problem_that_a_push_can_meet_is_explained() -> None:
    edge = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "shared" / "push").glob("*.py")))
    judging = "".join(
        (ROOT / file).read_text(encoding="utf-8")
        for file in (
            "shared/verdicts.py",
            "shared/events/case.py",
            "services/intake/domain/judging.py",
            "services/intake/domain/rows.py",
        )
    )
    reasons = {
        *re.findall(r'ProblemError\(\s*\d{3},\s*"([a-z-]+)"', edge),
        *re.findall(r'(?:Refusal|PydanticCustomError)\(\s*"([a-z-]+)"', judging),
        *re.findall(r'^[A-Z_]+(?:: Final)? = "([a-z]+(?:-[a-z]+)*)"$', judging, re.MULTILINE),
        *re.findall(r'^    "([a-z-]+)": "[A-Z]', edge, re.MULTILINE),
        "all-rejected",
        "not-found",
    }
    assert {"signature", "too-fast", "unknown-county", "unknown-code", "busy", "personal-data", "not-entitled"} <= reasons
    assert sorted(reason for reason in reasons if f"`{reason}`" not in PAGE) == []


def test_what_the_page_points_at_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
