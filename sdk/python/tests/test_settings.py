"""Settings: the schema of a dataclass, and objects of it."""

import json
import unittest
from dataclasses import dataclass, field
from typing import Annotated, Literal

from flocker_sdk import Node, Placement, Request, Score
from flocker_sdk import settings


@dataclass
class Window:
    hours: int
    share: float = 0.5


@dataclass
class Settings:
    zone: Annotated[str, "The zone that apps are kept in"]
    kind: Literal["ssd", "hdd"] = "ssd"
    most: Annotated[int | None, {"description": "How many"}] = None
    windows: list[Window] = field(default_factory=list)
    weights: dict[str, int] = field(default_factory=dict)


class Set(Placement):
    settings: Settings

    def score(self, node: Node, request: Request) -> Score:
        return Score.good(0)


class Unset(Placement):
    def score(self, node: Node, request: Request) -> Score:
        return Score.good(0)


class Test(unittest.TestCase):
    def test_the_schema_follows_from_the_dataclass(self) -> None:
        schema = json.loads(settings.schema(Set))
        self.assertEqual((schema["required"], schema["additionalProperties"]), (["zone"], False))
        properties = schema["properties"]
        self.assertEqual(
            properties["zone"], {"type": "string", "description": "The zone that apps are kept in"}
        )
        self.assertEqual(properties["kind"], {"enum": ["ssd", "hdd"], "default": "ssd"})
        self.assertEqual(properties["most"]["anyOf"], [{"type": "integer"}, {"type": "null"}])
        self.assertEqual(properties["windows"]["items"]["required"], ["hours"])
        self.assertEqual(properties["weights"]["additionalProperties"], {"type": "integer"})

    def test_what_an_operator_wrote_becomes_an_object(self) -> None:
        text = '{"zone": "eu", "most": 3, "windows": [{"hours": 2, "share": 1}], "weights": {"a": 1}}'
        read = settings.read(Set, text)
        self.assertEqual(read, Settings("eu", "ssd", 3, [Window(2, 1.0)], {"a": 1}))
        self.assertIsInstance(read.windows[0].share, float)

    def test_what_does_not_fit_is_refused_by_its_place(self) -> None:
        for text, message in [
            ("{}", "settings lacks zone"),
            ('{"zona": "eu"}', "no 'zona'"),
            ('{"zone": 3}', "settings.zone is 3, not str"),
            ('{"zone": "eu", "kind": "tape"}', 'settings.kind is "tape"'),
            ('{"zone": "eu", "windows": [{"hours": true}]}', r"settings.windows\[0\].hours is true"),
        ]:
            with self.assertRaisesRegex(ValueError, message):
                settings.read(Set, text)

    def test_a_policy_without_settings_refuses_any(self) -> None:
        self.assertEqual((settings.schema(Unset), settings.read(Unset, "")), ("", None))
        with self.assertRaisesRegex(ValueError, "has no settings"):
            settings.read(Unset, '{"zone": "eu"}')
