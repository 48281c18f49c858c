"""The examples that stand with the wire models are what the service takes and tells."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.utilities.domain.judging import judge, read
from services.utilities.domain.registry import Pair, Registry
from services.utilities.domain.registry_file import read_registry
from services.utilities.domain.snapshots import Told, encode_snapshot
from shared.events.envelope import WireModel
from shared.events.progress import InstallationState, JointState, PresenceState, RegistryState, Snapshot, WindowState
from shared.verdicts import Accepted

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "shared/events/examples"
PUSHED = sorted(file for kind in ("installation", "presence", "window") for file in EXAMPLES.glob(f"{kind}/*.json"))
TOLD = sorted(EXAMPLES.glob("progress/*.json"))
STATES: dict[str, type[WireModel]] = {
    "installation": InstallationState,
    "joint": JointState,
    "presence": PresenceState,
    "registry": RegistryState,
    "window": WindowState,
}


def _load(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", PUSHED, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_each_pushed_example_is_taken_of_the_sample_registry(file: Path) -> None:
    states = read_registry((ROOT / "deploy/local/sample/registry.csv").read_bytes()).states
    registry = Registry(frozenset(Pair(state.county, state.company, state.service) for state in states))
    verdict = judge(_load(file), "baoding-power", registry, datetime(2024, 9, 30, tzinfo=UTC))
    assert isinstance(verdict, Accepted)
    assert verdict.ignored == 0
    assert read(verdict.value)[0] == _load(file)["id"]


@pytest.mark.parametrize("file", TOLD, ids=lambda file: file.stem)
def test_each_snapshot_example_is_what_would_be_published(file: Path) -> None:
    example = _load(file)
    snapshot = Snapshot.model_validate(example["data"])
    state = json.dumps(example["data"]["state"])
    told = Told(snapshot.kind, snapshot.subject, snapshot.version, snapshot.deleted, state)
    assert orjson.loads(encode_snapshot(told, datetime.fromisoformat(example["time"]))) == example
    if not snapshot.deleted:
        model = STATES[snapshot.kind]
        assert model.model_validate(snapshot.state).model_dump(mode="json", exclude_unset=True) == snapshot.state


def test_every_kind_has_an_example() -> None:
    assert {Snapshot.model_validate(_load(file)["data"]).kind for file in TOLD} == set(STATES)
    assert {file.parent.name for file in PUSHED} == {"installation", "presence", "window"}
