"""Settings as a dataclass of the author's own: its JSON schema, and an object of it from what the operator wrote."""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def settings_type(policy: type) -> type | None:
    """The dataclass that a policy annotates its settings with; None where it has none."""
    kind = get_type_hints(policy).get("settings", Any)
    if kind in (Any, type(None)):
        return None
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise TypeError(f"the settings of {policy.__name__} are {kind!r}, which is no dataclass")
    return kind


def schema(policy: type) -> str:
    """The JSON schema of a policy's settings; empty where it has none."""
    kind = settings_type(policy)
    return "" if kind is None else json.dumps(_schema_of(kind))


def read(policy: type, text: str) -> Any:
    """Settings from what the operator wrote. ValueError says what is wrong with them, and where."""
    document = json.loads(text.strip() or "{}")
    kind = settings_type(policy)
    if kind is not None:
        return _read(kind, document, "settings")
    if document != {}:
        raise ValueError("this policy has no settings")
    return None


def _schema_of(kind: Any) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        described = _schema_of(arguments[0])
        for note in arguments[1:]:
            described |= {"description": note} if isinstance(note, str) else note
        return described
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if isinstance(kind, type) and is_dataclass(kind):
        return _schema_of_dataclass(kind)
    if origin is list:
        return {"type": "array", "items": _schema_of(arguments[0])}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": _schema_of(arguments[1])}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of(one) for one in arguments]}
    if kind is type(None):
        return {"type": "null"}
    raise TypeError(
        f"{kind!r} cannot be a setting; use bool, int, float, str, list, dict[str, ...], Literal, None or a dataclass"
    )


def _schema_of_dataclass(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    properties = {}
    for each in fields(kind):
        properties[each.name] = _schema_of(hints[each.name]) | _default_of(each)
    return {
        "type": "object",
        "properties": properties,
        "required": [each.name for each in fields(kind) if "default" not in properties[each.name]],
        "additionalProperties": False,
    }


def _default_of(each: Field[Any]) -> dict[str, Any]:
    if each.default is not MISSING:
        default = each.default
    elif each.default_factory is not MISSING:
        default = each.default_factory()
    else:
        return {}
    is_object = is_dataclass(default) and not isinstance(default, type)
    return {"default": asdict(default) if is_object else default}


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _read(arguments[0], value, where)
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    if origin is list and isinstance(value, list):
        return [_read(arguments[0], one, f"{where}[{n}]") for n, one in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _read(arguments[1], one, f"{where}.{key}") for key, one in value.items()}
    if origin is Literal and value in arguments:
        return value
    if origin in (Union, types.UnionType):
        return _read_any(arguments, value, where)
    if kind is float and type(value) is int:
        return float(value)
    # A bool is an int to Python, and to nobody else.
    if kind in (*_SCALARS, type(None)) and type(value) is kind:
        return value
    raise ValueError(f"{where} is {json.dumps(value)}, not {getattr(kind, '__name__', kind)}")


def _read_any(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    for kind in kinds:
        try:
            return _read(kind, value, where)
        except ValueError as error:
            reason = error
    raise reason


def _read_dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {json.dumps(value)}, not an object")
    hints = get_type_hints(kind, include_extras=True)
    given = {}
    for key, one in value.items():
        if key not in hints:
            raise ValueError(f"{where} has no {key!r}; there are: {', '.join(hints)}")
        given[key] = _read(hints[key], one, f"{where}.{key}")
    required = {each.name for each in fields(kind) if not _default_of(each)}
    if missing := required - given.keys():
        raise ValueError(f"{where} lacks {', '.join(sorted(missing))}")
    return kind(**given)
