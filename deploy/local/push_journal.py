"""Where a push of a file stands: what was answered for, kept beside the file, so that the next run goes on from there."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import orjson
from pydantic import BaseModel, ValidationError

from deploy.local.client import Answered
from deploy.local.push_items import Batch, Item
from deploy.local.state import write_private

STATE: Final = ".push.json"
REJECTED: Final = ".rejected.jsonl"
RECEIPTS: Final = ".receipts"


class _Stand(BaseModel):
    """``items`` were answered for, whose bytes have ``digest``; the sizes are those of the two files beside."""

    url: str
    items: int = 0
    digest: str = ""
    accepted: int = 0
    rejected: int = 0
    reasons: dict[str, int] = {}
    rejected_bytes: int = 0
    receipts_bytes: int = 0


class Journal:
    """Of one file and one address. The rejected items and the receipts are durable before the stand that counts them."""

    def __init__(self, file: Path, url: str) -> None:
        self._state = file.with_name(file.name + STATE)
        self.rejected = file.with_name(file.name + REJECTED)
        self.receipts = file.with_name(file.name + RECEIPTS)
        self._digest = hashlib.sha256()
        self._stand = _Stand(url=url)
        self.resumed = 0

    @classmethod
    def opened(cls, file: Path, url: str, items: Iterator[Item], *, anew: bool = False) -> Self:
        """The journal of ``file``; takes from ``items`` what an earlier run was answered for, and counts that as ``resumed``.

        Where the file or the address is another than then, it begins anew, and ``resumed`` is 0; the receipts stay.
        """
        journal = cls(file, url)
        before = None if anew else journal._read()
        if before is not None and before.url == url and journal._skips(before, items):
            journal._stand, journal.resumed = before, before.items
        else:
            journal._digest = hashlib.sha256()
            # A receipt is a proof, whoever it was given to: those of earlier pushes stay.
            journal._stand.receipts_bytes = _whole_lines(journal.receipts)
        # What a run that was killed wrote beyond its stand is written again.
        for beside, size in ((journal.rejected, journal._stand.rejected_bytes), (journal.receipts, journal._stand.receipts_bytes)):
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT, 0o600)
            os.ftruncate(descriptor, size)
            os.close(descriptor)
        return journal

    def _read(self) -> _Stand | None:
        try:
            return _Stand.model_validate_json(self._state.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _skips(self, before: _Stand, items: Iterator[Item]) -> bool:
        for _ in range(before.items):
            item = next(items, None)
            if item is None:
                return False
            self._take(item)
        return self._digest.hexdigest() == before.digest

    def _take(self, item: Item) -> None:
        self._digest.update(orjson.dumps([item.table]) + item.encoded() + b"\n")

    def note(self, batch: Batch, answered: Answered) -> None:
        """Keeps what was answered: rejected items with their problems, the receipt, and where we stand."""
        tally = answered.tally()
        wrong = [
            orjson.dumps({"place": item.place, "problem": result["problem"], **_named(item)}) + b"\n"
            for item, result in zip(batch.items, answered.results, strict=True)
            if result["status"] == "rejected"
        ]
        self._append(self.rejected, b"".join(wrong))
        if answered.receipt:
            self._append(self.receipts, answered.receipt.encode() + b"\n")
        for item in batch.items:
            self._take(item)
        stand = self._stand
        self._stand = _Stand(
            url=stand.url,
            items=stand.items + len(batch.items),
            digest=self._digest.hexdigest(),
            accepted=stand.accepted + tally.accepted,
            rejected=stand.rejected + tally.rejected,
            reasons=dict(Counter(stand.reasons) + tally.reasons),
            rejected_bytes=self.rejected.stat().st_size,
            receipts_bytes=self.receipts.stat().st_size,
        )
        write_private(self._state, self._stand.model_dump())

    @staticmethod
    def _append(file: Path, content: bytes) -> None:
        if content:
            with file.open("ab") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())

    @property
    def accepted(self) -> int:
        return self._stand.accepted

    @property
    def rejected_items(self) -> int:
        return self._stand.rejected

    @property
    def items(self) -> int:
        return self._stand.items

    @property
    def reasons(self) -> dict[str, int]:
        return self._stand.reasons

    def tidy(self) -> None:
        """Removes what turned out empty."""
        for beside in (self.rejected, self.receipts):
            if beside.exists() and not beside.stat().st_size:
                beside.unlink()


def _whole_lines(file: Path) -> int:
    """How many bytes of ``file`` are whole lines; 0 where there is none."""
    return file.read_bytes().rfind(b"\n") + 1 if file.exists() else 0


def _named(item: Item) -> dict[str, Any]:
    return {"item": item.value} if item.table is None else {"table": item.table, "item": item.value}
