"""A watched file: a change is in force within a second, and a change that cannot be read changes nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared import meters
from shared.reloading import LOOK_SECONDS, Reloaded


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _read(file: Path) -> Any:
    return json.loads(file.read_text())


def _broken(file: Path) -> float | None:
    return meters.registry("intake api").get_sample_value("onething_file_broken", {"file": file.name})


def _write(file: Path, text: str) -> None:
    """Writes it as an editor does, so that it is another file of the same name."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, file)


def test_a_change_comes_in_force_and_a_broken_one_keeps_the_former(tmp_path: Path) -> None:
    file, time = tmp_path / "watched.json", Time()
    _write(file, "1")
    content = Reloaded(file, _read, (OSError, ValueError), time)
    _write(file, "2")
    assert content() == 1  # not yet looked at
    time.now += LOOK_SECONDS
    assert (content(), _broken(file)) == (2, 0)
    for text in ("{", None):
        file.unlink() if text is None else _write(file, text)
        time.now += LOOK_SECONDS
        assert (content(), _broken(file)) == (2, 1)
    _write(file, "3")
    time.now += LOOK_SECONDS
    assert (content(), _broken(file)) == (3, 0)


def test_it_is_read_once_while_it_does_not_change(tmp_path: Path) -> None:
    file, time, reads = tmp_path / "watched.json", Time(), 0

    def read(given: Path) -> Any:
        nonlocal reads
        reads += 1
        return _read(given)

    _write(file, "1")
    content = Reloaded(file, read, ValueError, time)
    for _ in range(5):
        time.now += LOOK_SECONDS
        content()
    assert reads == 1


def test_nothing_starts_on_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Reloaded(tmp_path / "none.json", _read, ValueError)
