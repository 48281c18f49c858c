"""Companies' events merge the same in any order, repeated or not, in any batches; held against an oracle."""

import itertools
import random
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from services.utilities.domain.judging import read
from services.utilities.domain.kinds import PRESENCE, WINDOWS, Kept, kept_installations
from services.utilities.domain.registers import Data, Event, State, dump
from services.utilities.settings import LIMITS, read_limits
from tests import utilities_oracle as oracle

INSTALLATIONS = kept_installations(read_limits(LIMITS))

# Few values on purpose: what collides is what must be decided.
MOMENTS = st.sampled_from([f"2024-05-01T08:0{minute}:00Z" for minute in range(5)])
IDS = st.sampled_from(["a", "b", "B", "c.1"])


@st.composite
def installation_events(draw: st.DrawFn) -> oracle.Event:
    operation = draw(st.sampled_from(["upsert", "upsert", "upsert", "retract", "delete"]))
    step = draw(st.sampled_from(["accepted", "surveyed", "connected", "paused", "resumed"]))
    maybe = st.none()
    return oracle.installation(
        "baoding-power", "AZ1", event_id=draw(IDS), recorded_at=draw(MOMENTS), operation=operation,
        data_version=draw(st.sampled_from([1, 1, 2])),
        step=draw(maybe | st.just(step)) if operation == "delete" else step,
        occurred_at=draw(MOMENTS),
        county=draw(maybe | st.sampled_from(["130607", "130608"])),
        service=draw(maybe | st.just("power")),
        case_no=draw(maybe | st.sampled_from(["C1", "C2"])),
        case_source=draw(maybe | st.just("urn:onething:province:hebei")),
        customer_kind=draw(maybe | st.sampled_from(["resident", "other"])),
        reason=draw(maybe | st.just("用户原因")),
    )  # fmt: skip


@st.composite
def presence_events(draw: st.DrawFn) -> oracle.Event:
    return oracle.presence(
        "baoding-power", "130607", "power", event_id=draw(IDS), recorded_at=draw(MOMENTS),
        effective_on=draw(st.sampled_from(["2024-01-01", "2024-02-01"])),
        level=draw(st.sampled_from(["none", "own_window"])),
        handles=draw(st.lists(st.sampled_from(["joint_installation", "public_service"]), unique=True)),
    )  # fmt: skip


@st.composite
def window_events(draw: st.DrawFn) -> oracle.Event:
    operation = draw(st.sampled_from(["upsert", "upsert", "retract", "delete"]))
    return oracle.window(
        "baoding-power", "130607", "power", "2024-05", event_id=draw(IDS), recorded_at=draw(MOMENTS), operation=operation,
        public_service_handled=draw(st.integers(0, 3)),
    )  # fmt: skip


def _read(kept: Kept[Data], events: list[oracle.Event]) -> list[Event[Data]]:
    found = []
    for event in events:
        event_id, body = read(orjson.dumps(event))
        assert isinstance(body, kept.model)
        found.append(Event(event_id, body))
    return found


def _by_any_way(kept: Kept[Data], events: list[oracle.Event], chance: random.Random) -> State[Data]:
    """Merges shuffled, with repeats, in batches, each stored and loaded again between two."""
    sent = [*events, *chance.choices(events, k=len(events) // 2)]
    chance.shuffle(sent)
    cuts: list[int] = sorted(chance.sample(range(len(sent) + 1), k=min(3, len(sent))))
    state: State[Data] = ()
    for begin, end in itertools.pairwise([0, *cuts, len(sent)]):
        batch = _read(kept, sent[begin:end])
        state = kept.load(dump(kept.merge(state, batch)))
    return state


def _check(kept: Kept[Any], events: list[oracle.Event], chance: random.Random) -> None:
    first, second = (_by_any_way(kept, events, chance) for _ in range(2))
    assert first == second
    ((expected),) = oracle.told(events).values()
    telling = kept.tell(first)
    assert telling.deleted == (expected is None)
    assert orjson.loads(orjson.dumps(telling.state)) == (expected or {})


@settings(deadline=None)
@given(st.lists(installation_events(), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_an_installation_is_what_the_oracle_says_by_any_way(events: list[oracle.Event], chance: random.Random) -> None:
    _check(INSTALLATIONS, events, chance)


# Around holidays, make-up days, the season's ends and the end of what is published.
DAYS = st.sampled_from(
    ["2024-03-14", "2024-03-18", "2024-09-27", "2024-09-29", "2024-09-30", "2024-10-05", "2024-10-08", "2024-11-14",
     "2024-11-15", "2025-01-26", "2025-02-05", "2026-12-30", "2027-01-04"]
)  # fmt: skip


@st.composite
def timed_events(draw: st.DrawFn) -> oracle.Event:
    return oracle.installation(
        "baoding-power", "AZ1", event_id=draw(IDS), recorded_at=draw(MOMENTS), operation="upsert",
        step=draw(st.sampled_from(oracle.STEPS + oracle.REPEATING)),
        occurred_at=f"{draw(DAYS)}T{draw(st.sampled_from(['01', '08', '17']))}:00:00Z",
        service=draw(st.sampled_from(["power", "heat", "water", "telecom"])), customer_kind=draw(st.sampled_from(oracle.KINDS)),
    )  # fmt: skip


@settings(deadline=None)
@given(st.lists(timed_events(), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_limits_pauses_and_anomalies_are_what_the_oracle_says(events: list[oracle.Event], chance: random.Random) -> None:
    _check(INSTALLATIONS, events, chance)


@given(st.lists(presence_events(), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_a_presence_is_what_the_oracle_says_by_any_way(events: list[oracle.Event], chance: random.Random) -> None:
    _check(PRESENCE, events, chance)


@given(st.lists(window_events(), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_a_window_is_what_the_oracle_says_by_any_way(events: list[oracle.Event], chance: random.Random) -> None:
    _check(WINDOWS, events, chance)


@given(*[st.lists(installation_events(), max_size=6)] * 3)
def test_merging_states_is_commutative_associative_and_idempotent(
    one: list[oracle.Event], two: list[oracle.Event], three: list[oracle.Event]
) -> None:
    merge = INSTALLATIONS.merge
    a, b, c = (merge((), _read(INSTALLATIONS, events)) for events in (one, two, three))
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == a


def _tell(*events: oracle.Event) -> Any:
    telling = INSTALLATIONS.tell(INSTALLATIONS.merge((), _read(INSTALLATIONS, list(events))))
    return None if telling.deleted else telling.state


def _at(minute: int, event_id: str = "e", **data: Any) -> oracle.Event:
    data.setdefault("occurred_at", "2024-05-01T00:00:00Z")
    return oracle.installation(
        "baoding-power", "AZ1", event_id=f"{event_id}{minute}", recorded_at=f"2024-05-02T00:{minute:02}:00Z", **data
    )


def test_an_event_after_a_delete_revives_the_installation_with_the_steps_it_had() -> None:
    before = _at(1, step="accepted", county="130607")
    delete = _at(2, operation="delete", occurred_at=None)
    assert _tell(before, delete) is None
    revived = _tell(before, delete, _at(3, step="surveyed"))
    assert revived["steps"].keys() == {"accepted", "surveyed"}
    assert revived["county"] == "130607"


def test_a_delete_at_the_time_of_the_latest_event_hides_by_the_greater_id() -> None:
    step, delete = {"step": "accepted"}, {"operation": "delete", "occurred_at": None}
    assert _tell(_at(1, "a", **step), _at(1, "b", **delete)) is None
    assert _tell(_at(1, "b", **step), _at(1, "a", **delete)) is not None
    assert _tell(_at(1, "a", **step), _at(1, "a", **delete)) is None, "nor is one of the same id older"


def test_each_pause_is_retracted_by_its_own_time() -> None:
    early, late = "2024-05-01T01:00:00Z", "2024-05-01T02:00:00Z"
    told = _tell(
        _at(1, step="paused", occurred_at=early),
        _at(2, step="paused", occurred_at=late),
        _at(3, step="paused", occurred_at=early, operation="retract"),
    )
    assert told["paused"] == [late]


def test_a_higher_version_replaces_wholesale_even_while_incomplete() -> None:
    told = _tell(_at(9, step="connected", county="130607"), _at(1, step="accepted", data_version=2))
    assert told["steps"].keys() == {"accepted"}
    assert "county" not in told


def test_the_step_is_the_last_that_happened_whatever_was_recorded_last() -> None:
    told = _tell(
        _at(1, step="connected", occurred_at="2024-05-01T09:00:00Z"),
        _at(2, step="surveyed", occurred_at="2024-05-01T08:00:00Z"),
        _at(3, step="resumed", occurred_at="2024-05-01T10:00:00Z"),
    )
    assert told["step"] == "connected"
