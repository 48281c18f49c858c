"""A file that is read again when it changes, so that keys are exchanged and parties added without a restart."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from shared import meters

log = structlog.get_logger()

LOOK_SECONDS: Final = 1.0
"""How often the file is looked at, while it is asked for at all."""

Content = TypeVar("Content")
_Stamp = tuple[int, int, int]
Errors = type[Exception] | tuple[type[Exception], ...]


class Reloaded(Generic[Content]):
    """The content of ``file`` as ``read`` gives it. A new content that cannot be read leaves the former one in force.

    ``errors`` are what ``read`` raises for a file that cannot be used; their text goes to the log and may hold no secret.
    """

    def __init__(
        self,
        file: Path,
        read: Callable[[Path], Content],
        errors: Errors,
        monotonic: Callable[[], float] = time.monotonic,
        changed: Callable[[Content, Content], None] = lambda before, after: None,
    ) -> None:
        """Reads the file; ``changed`` hears the former content and the new one whenever it is read again.

        Raises:
            Exception: what ``read`` raises: a process does not start on a file that it cannot use.
        """
        self._file = file
        self._read = read
        self._errors = errors
        self._monotonic = monotonic
        self._changed = changed
        self._broken = meters.FILE_BROKEN.labels(file.name)
        self._looked = monotonic()
        self._stamp = self._stat()
        self._content = read(file)
        self._broken.set(0)

    def __call__(self) -> Content:
        """The content in force, at most a second behind the file."""
        if self._monotonic() - self._looked >= LOOK_SECONDS:
            self._look()
        return self._content

    def _look(self) -> None:
        self._looked = self._monotonic()
        stamp = self._stat()
        if stamp == self._stamp:
            return
        self._stamp = stamp  # before reading: a file that is written meanwhile is looked at again
        before = self._content
        try:
            self._content = self._read(self._file)
        except self._errors as error:
            self._broken.set(1)
            log.error("file_not_reloaded", error=str(error), in_force="the former content")
            return
        self._broken.set(0)
        log.info("file_reloaded", file=self._file.name)
        self._changed(before, self._content)

    def _stat(self) -> _Stamp | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
