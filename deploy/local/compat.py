"""Whether a contract's schema still keeps what a released one promised: pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")
"""Bounds that narrow when they rise."""
UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
"""Bounds that narrow when they fall."""
TELLING: Final = ("type", "kind")
"""Properties whose constant tells one of several objects from the others."""


def broken_promises(released: Schema, present: Schema) -> list[str]:
    """What of ``released`` the ``present`` schema no longer keeps, each with its place; empty when it is compatible.

    Nothing that was allowed may be forbidden (a field gone, a narrower type, a new required field), for senders say it; and
    nothing that was always there may be missing, for readers count on it. What is new and optional is free.
    """
    return list(_compared(released, present, released, present, "", frozenset()))


def _compared(old: Schema, new: Schema, olds: Schema, news: Schema, place: str, seen: frozenset[str]) -> Iterator[str]:
    reference = old.get("$ref")
    if reference is not None:
        if reference in seen:
            return
        seen |= {reference}
    former, latter = _alternatives(old, olds), _alternatives(new, news)
    for label, alternative in former.items():
        other = latter.get(label, latter.get("anything"))
        if other is None:
            yield f"{place or '/'}: {label} is no longer allowed"
        else:
            yield from _one(alternative, other, olds, news, place, seen)


def _one(old: Schema, new: Schema, olds: Schema, news: Schema, place: str, seen: frozenset[str]) -> Iterator[str]:
    yield from _narrower(old, new, place or "/")
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, schema in before.items():
        if name in after:
            yield from _compared(schema, after[name], olds, news, f"{place}/{name}", seen)
        else:
            yield f"{place}/{name}: the field is gone"
    needed, was_needed = set(new.get("required", ())), set(old.get("required", ()))
    for name in sorted(needed - was_needed):
        yield f"{place}/{name}: is required now"
    for name in sorted(was_needed - needed):
        yield f"{place}/{name}: is no longer always there"
    for inner in ("items", "additionalProperties"):
        if isinstance(old.get(inner), Mapping) and isinstance(new.get(inner), Mapping):
            yield from _compared(old[inner], new[inner], olds, news, f"{place}/{inner}", seen)
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield f"{place or '/'}: further fields are no longer allowed"


def _narrower(old: Schema, new: Schema, place: str) -> Iterator[str]:
    if "enum" in new:
        for value in old.get("enum", ["any other value"]):
            if value not in new["enum"]:
                yield f"{place}: {value!r} is no longer allowed"
    if "const" in new and old.get("const", new) != new["const"]:
        yield f"{place}: must be {new['const']!r} now"
    for name in ("pattern", "format"):
        if name in new and new[name] != old.get(name):
            yield f"{place}: {name} is {new[name]!r} now"
    for bounds, sign in ((LOWER, 1), (UPPER, -1)):
        for name in bounds:
            if name in new and (name not in old or sign * new[name] > sign * old[name]):
                yield f"{place}: {name} is {new[name]} now"


def _alternatives(schema: Schema, whole: Schema) -> dict[str, Schema]:
    """The kinds of value that ``schema`` allows, by what tells them apart."""
    while "$ref" in schema:
        target: Any = whole
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    several = schema.get("anyOf") or schema.get("oneOf")
    if several:
        return {label: one for each in several for label, one in _alternatives(each, whole).items()}
    types = schema.get("type", "anything")
    if types == "object":
        return {_label(schema): schema}
    return dict.fromkeys([types] if isinstance(types, str) else types, schema)


def _label(schema: Schema) -> str:
    properties = schema.get("properties", {})
    told = next((properties[name]["const"] for name in TELLING if "const" in properties.get(name, {})), None)
    if told is not None:
        return f"object {told}"
    # Where several objects stand side by side, an empty one is told from those with fields.
    return "object" if properties or schema.get("additionalProperties") is not False else "empty object"
