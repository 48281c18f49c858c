"""The scene of the guarantees, and a summary of what they measured."""

from collections.abc import Callable

import pytest

from shared.kafka import Topics
from tests.conftest import Services, TestDatabase
from tests.guarantees.scene import Measured, Scene

MEASURED = "measured"


@pytest.fixture
def scene(kafka: str, topics: Topics, database: TestDatabase, service: Services) -> Scene:
    """Topics and a database of this test's own, and the workers that it starts between them."""
    return Scene(kafka, topics, database, service)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Records how long something took. It is shown, not asserted: another machine is slower."""
    return lambda what, seconds: record_property(MEASURED, f"{what}: {seconds:.1f} s")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what was measured, when this folder is run by its name."""
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    lines = [text for report in reports for name, text in report.user_properties if name == MEASURED]
    if lines:
        terminalreporter.section("measured")
        for line in dict.fromkeys(lines):
            terminalreporter.line(str(line))
