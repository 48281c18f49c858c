"""The catalogue of metrics: its page, its names, and which process shows what."""

import re
import tomllib

from deploy.local import metrics_page
from deploy.local.parts import ROOT
from shared import __version__, meters
from shared.meters import CATALOGUE, PROCESSES


def test_the_page_is_what_the_code_says() -> None:
    assert not metrics_page.differs(), "run `./onething contracts` and commit docs/metrics.md"
    page = metrics_page.page()
    for entry in CATALOGUE:
        assert page.count(f"`{entry.name}`") == 1, entry.name


def test_names_follow_the_conventions_and_say_what_they_are() -> None:
    assert len({entry.name for entry in CATALOGUE}) == len(CATALOGUE)
    for entry in CATALOGUE:
        assert re.fullmatch(r"onething_[a-z_]+", entry.name)
        assert (entry.kind == "counter") == entry.name.endswith("_total"), entry.name
        assert entry.help.endswith("."), entry.name
        assert entry.where
        assert set(entry.where) <= set(PROCESSES)


def test_metrics_are_declared_in_the_catalogue_alone() -> None:
    for folder in ("services", "shared"):
        for file in (ROOT / folder).rglob("*.py"):
            if file.name not in ("meters.py", "web.py"):
                assert "prometheus_client" not in file.read_text("utf-8"), f"{file}: declare it in shared/meters.py"


def test_a_process_shows_its_own_metrics_and_no_others() -> None:
    for process in PROCESSES:
        shown = {
            f"{family.name}_total" if family.type == "counter" else family.name for family in meters.registry(process).collect()
        }
        assert {name for name in shown if name.startswith("onething_")} == {
            entry.name for entry in CATALOGUE if process in entry.where
        }


def test_the_release_is_that_of_the_package() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == __version__
