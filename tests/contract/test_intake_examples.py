"""The example case events are what intake publishes: each is accepted, and is already normal."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from services.intake.domain import Sender, judge
from shared.events.case import CaseStep, Channel, Operation, Step
from shared.verdicts import Accepted
from tests.intake_support import SENDER, SOURCE

EXAMPLES = sorted((Path(__file__).parents[2] / "shared/events/examples/case").glob("*.json"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_comes_out_as_it_went_in(file: Path) -> None:
    example = orjson.loads(file.read_bytes())
    verdict = judge(example, Sender(SENDER, SOURCE), datetime(2024, 10, 1, tzinfo=UTC))
    assert isinstance(verdict, Accepted), verdict
    assert orjson.loads(verdict.value) == example
    assert (verdict.key, verdict.ignored) == (example["data"]["case_no"], 0)


def test_the_examples_show_each_step_operation_channel_and_attribute() -> None:
    data = [orjson.loads(file.read_bytes())["data"] for file in EXAMPLES]
    assert {d.get("step") for d in data} == {*Step, None}
    assert {d["operation"] for d in data} == {*Operation}
    assert {d.get("channel") for d in data} == {*Channel, None}
    assert set().union(*data) == CaseStep.model_fields.keys()
    assert any(d.keys() == CaseStep.model_fields.keys() for d in data)
