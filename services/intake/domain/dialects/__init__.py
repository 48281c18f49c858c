"""Dialects: other ways of telling cases, read as the events of the contract.

A dialect is a package beside this file with a ``DIALECT`` (see :class:`~.reading.Dialect`), its table of codes
``codes.csv``, and ``examples/``. Adding one is adding such a package: it is found by its place.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from services.intake.domain.dialects.codes import CodesError
from services.intake.domain.dialects.reading import UNKNOWN_CODE, Dialect

__all__ = ["DIALECTS", "UNKNOWN_CODE", "CodesError", "Dialect"]


def _found() -> Mapping[str, Dialect]:
    dialects: dict[str, Dialect] = {}
    for place in pkgutil.iter_modules(__path__, f"{__name__}."):
        if not place.ispkg:
            continue
        dialect: Dialect = importlib.import_module(place.name).DIALECT
        # Its own table of codes is part of the package, as its code is.
        dialects[dialect.name] = dialect.with_codes(files(place.name).joinpath("codes.csv").read_text("utf-8"))
    return dialects


DIALECTS: Final[Mapping[str, Dialect]] = _found()
"""Every dialect by its name."""
