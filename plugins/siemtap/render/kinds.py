"""What a kind of setting means to what is rendered of it: a JSON Schema, the pages that UCC makes
for Splunk, the form of an Elastic package.

KINDS is all that these renderers know of a kind. What a kind means where its values are read is in
`core.manifest`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple

from ..core.manifest import DURATION, INTEGER, URL

Setting = Mapping[str, Any]  # as `describe` returns it
Rendered = Dict[str, Any]


def rendering_of(s: Setting) -> Rendering:
    """Return what the kind of a setting means to the renderers."""
    return KINDS[s["kind"]]


def items(options: Iterable[str]) -> List[Dict[str, str]]:
    """Return options as UCC lists them."""
    return [{"value": option, "label": option} for option in options]


# JSON Schemas. What a reference such as ${PORT} stands for in siemtap.yml is always a text.


def _text_schema(s: Setting) -> Rendered:
    if "pattern" in s:
        return {"type": "string", "pattern": f"^$|{s['pattern']}"}
    return {"type": ["string", "number", "boolean"]}


def _secret_schema(s: Setting) -> Rendered:
    return {**_text_schema(s), "type": ["string", "number", "boolean"], "writeOnly": True}


def _choice_schema(s: Setting) -> Rendered:
    return {"enum": list(s["options"])}


def _duration_schema(s: Setting) -> Rendered:
    return {"type": "string", "pattern": DURATION}


def _switch_schema(s: Setting) -> Rendered:
    return {"type": ["boolean", "string"]}


def _integer_schema(s: Setting) -> Rendered:
    bounds = {name: s[key] for name, key in (("minimum", "least"), ("maximum", "most")) if key in s}
    return {"anyOf": [{"type": "integer", **bounds}, {"type": "string", "pattern": INTEGER}]}


def _url_schema(s: Setting) -> Rendered:
    return {"type": "string", "pattern": f"^$|{URL}" if s.get("default") == "" else URL}


def _many_schema(s: Setting) -> Rendered:
    item = {"enum": list(s["options"])} if "options" in s else {"type": ["string", "number"]}
    return {"anyOf": [{"type": "array", "items": item}, {"type": "string"}]}


def _table_schema(s: Setting) -> Rendered:
    return {"type": "object"}


# UCC's widgets


def _text_with_pattern(pattern: str, message: str) -> Rendered:
    return {
        "type": "text",
        "validators": [{"type": "regex", "pattern": pattern, "errorMsg": message}],
    }


def _text_widget(s: Setting) -> Rendered:
    if "pattern" in s:
        return _text_with_pattern(f"^$|{s['pattern']}", f"{s['label']}: {s['allowed']}.")
    return {"type": "text"}


def _secret_widget(s: Setting) -> Rendered:
    return {"type": "text", "encrypted": True}


def _choice_widget(s: Setting) -> Rendered:
    return {
        "type": "singleSelect",
        "options": {"disableSearch": True, "autoCompleteFields": items(s["options"])},
    }


def _duration_widget(s: Setting) -> Rendered:
    return _text_with_pattern(
        DURATION, f"{s['label']} is a number and a unit, such as 30s, 5m, 12h or 1d."
    )


def _switch_widget(s: Setting) -> Rendered:
    return {"type": "checkbox"}


def _integer_widget(s: Setting) -> Rendered:
    lower, upper = s.get("least", "any"), s.get("most", "any")
    return {
        "type": "text",
        "validators": [
            {
                "type": "number",
                "range": [s.get("least", -(2**31)), s.get("most", 2**31)],
                "errorMsg": f"{s['label']} is a whole number from {lower} to {upper}.",
            }
        ],
    }


def _url_widget(s: Setting) -> Rendered:
    return _text_with_pattern(
        r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        f"{s['label']} looks like https://host.example.com/path.",
    )


def _many_widget(s: Setting) -> Rendered:
    if not s.get("options"):
        return {"type": "text"}
    return {"type": "multipleSelect", "options": {"delimiter": ",", "items": items(s["options"])}}


def _table_widget(s: Setting) -> Rendered:
    return {"type": "textarea", "options": {"rowsMin": 2, "rowsMax": 8}}


# What a field of UCC shows at first. None for an empty field, which means the default.


def _default_text(s: Setting) -> Any:
    return None if s["default"] is None else str(s["default"])


def _default_bool(s: Setting) -> Any:
    return s["default"]


def _default_list(s: Setting) -> Any:
    return ("," if s.get("options") else ", ").join(s["default"] or ())


def _no_default(s: Setting) -> Any:
    return None


class Variable(NamedTuple):
    """The variable of an Elastic package for a kind of setting."""

    type: str
    is_list: bool = False
    note: str = ""  # is added to the description


class Rendering(NamedTuple):
    """What a kind of setting means to each renderer."""

    schema: Callable[[Setting], Rendered]  # the JSON Schema of its values
    widget: Callable[[Setting], Rendered]  # the part of UCC's field that depends on the kind
    widget_default: Callable[[Setting], Any]
    variable: Variable


DURATION_TEXT = Variable("text", note=" Hours are the longest unit here: 48h.")
TEXT_LIST = Variable("text", is_list=True)
# fmt: off
KINDS: Dict[str, Rendering] = {
    #                     JSON Schema       UCC's widget      its default    Elastic's variable
    "text":     Rendering(_text_schema,     _text_widget,     _default_text, Variable("text")),
    "secret":   Rendering(_secret_schema,   _secret_widget,   _no_default,   Variable("password")),
    "choice":   Rendering(_choice_schema,   _choice_widget,   _default_text, Variable("select")),
    "duration": Rendering(_duration_schema, _duration_widget, _default_text, DURATION_TEXT),
    "switch":   Rendering(_switch_schema,   _switch_widget,   _default_bool, Variable("bool")),
    "integer":  Rendering(_integer_schema,  _integer_widget,  _default_text, Variable("integer")),
    "url":      Rendering(_url_schema,      _url_widget,      _default_text, Variable("text")),
    "many":     Rendering(_many_schema,     _many_widget,     _default_list, TEXT_LIST),
    "table":    Rendering(_table_schema,    _table_widget,    _no_default,   Variable("yaml")),
}
# fmt: on
