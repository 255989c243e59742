"""The pure middle: windows, marks, identity, settings, errors."""

import dataclasses
import hashlib
import json
import pathlib
import random
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap import contract
from siemtap.core import convert, manifest
from siemtap.core.errors import ConfigError, Retry
from siemtap.core.forms import Connection, Every
from siemtap.core.identity import digest_of, identify, spell
from siemtap.core.mapping import (
    LATEST,
    REFUSED,
    Dataset,
    Field,
    Join,
    Split,
    as_sent,
    rfc3339,
    shallow,
)
from siemtap.core.model import Batch, Mark
from siemtap.core.windows import Window, windows
from world import NOON

VECTORS = contract.read("identity-vectors.json")["vectors"]


# Windows


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(2, 10**5), st.integers(1, 100))
def test_windows_cover_and_touch_and_are_never_too_wide(start, length, widest, touching):
    if not touching < widest:
        with pytest.raises(ValueError):
            list(windows(start, start + length, widest, touching))
        return
    if length // (widest - touching) > 2000:
        return
    cut = list(windows(start, start + length, widest, touching))
    assert bool(cut) == (length > 0)
    assert all(0 < window.width <= widest for window in cut)
    assert all(after.start == before.stop - touching for before, after in zip(cut, cut[1:]))
    if cut:
        assert cut[0].start == start and cut[-1].stop == start + length


@pytest.mark.parametrize("grain", [1, 60_000])
@pytest.mark.parametrize("width", [4, 5, 7, 300])
def test_halves_share_a_grain(grain, width):
    window = Window(120_000, 120_000 + width * grain)
    first, second = window.halves(grain)
    assert (
        first.start == window.start
        and second.stop == window.stop
        and second.start == first.stop - grain
    )
    assert first.stop % grain == 0 and first.width < window.width and second.width < window.width


# Marks

TINY = Dataset(
    "acme.event",
    clock=lambda record: "2026-03-04T10:00:00.000Z",
    identity=("n",),
    rows=(Field("n", "acme.n"),),
)


def events(*ids):
    return [{"event": {"id": id}} for id in ids]


def test_a_mark_gives_what_is_new_once():
    fresh, mark = Mark().after(Batch(TINY, [], {"until": 10}, 10, 5), events("a", "b", "a"))
    assert [event["event"]["id"] for event in fresh] == ["a", "b"]
    fresh, mark = mark.after(Batch(TINY, [], {"until": 20}, 14, 5), events("b", "c"))
    assert [event["event"]["id"] for event in fresh] == ["c"] and mark.cursor == {"until": 20}


def test_an_id_is_remembered_exactly_as_long_as_it_can_come_again():
    """Seen at 10 with an overlap of 5: a window that ends at 15 may bring it, one that ends at
    16 may not."""
    _, mark = Mark().after(Batch(TINY, [], {}, 10, 5), events("a"))
    assert "a" in mark.after(Batch(TINY, [], {}, 15, 5), [])[1].seen
    assert "a" not in mark.after(Batch(TINY, [], {}, 16, 5), [])[1].seen


def test_the_horizon_is_that_of_the_last_window_that_returned_an_id():
    _, mark = Mark().after(Batch(TINY, [], {}, 10, 5), events("a"))
    _, mark = mark.after(Batch(TINY, [], {}, 14, 5), events("a"))
    assert mark.seen == {"a": 14}
    # an earlier window takes nothing back
    assert mark.after(Batch(TINY, [], {}, 12, 5), events("a"))[1].seen == {"a": 14}


def test_a_mark_is_a_value():
    before = Mark({"until": 1}, {"a": 1})
    before.after(Batch(TINY, [], {"until": 99}, 99, 1), events("b"))
    assert before == Mark({"until": 1}, {"a": 1})


@given(
    st.dictionaries(
        st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(0, 10**13), max_size=9
    )
)
def test_a_mark_survives_json(seen):
    mark = Mark({"until": 7, "deep": {"a": [1]}}, seen)
    assert Mark.from_json(json.loads(json.dumps(mark.to_json()))) == mark


@pytest.mark.parametrize(
    "said", [{}, {"cursor": 1, "seen": {}}, {"cursor": {}, "seen": {"x": ["a"]}}, {"cursor": {}}]
)
def test_what_is_no_mark_is_refused(said):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Mark.from_json(said)


# Identity


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["why"])
def test_the_recipe(vector):
    assert identify(vector["dataset"], vector["words"]) == vector["id"]


def test_the_recipe_by_hand():
    words = (
        "apptrana.attack",
        "aagC07TexKihuU@MacwKKwAAAFE",
        "1021",
        "2026-03-04T10:02:13.417Z",
        "shop.example.com",
        "",
        "../../secret.cfg",
    )
    assert (
        hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]
        == VECTORS[0]["id"]
        == "da1ab7f15aa8550fef338b9f4f405ebd"
    )


def test_an_id_never_fails():
    for word in ("\ud800", float("nan"), 10**400, {"a": {1, 2}}, b"x", object()):
        assert len(identify("acme.event", [word])) == 32


# Mapping


def test_a_table_becomes_straight_line_python():
    table = Dataset(
        "acme.event",
        clock=lambda record: convert.instant(record["at"]),
        identity=("at", "who"),
        quiet=("at",),
        rows=(
            Field("who", ("user.name", "related.user")),
            Field("n", "acme.n", convert.integer),
            Split(
                "where",
                ("source.ip", "source.address", "related.ip"),
                lambda said: (convert.ip(said), said, convert.ip(said)),
            ),
            Join(
                ("n", "who"),
                "message",
                lambda n, who: f"{who.strip()} did it {n} times" if n and who else None,
            ),
        ),
        constant={"event.kind": "event", "observer.vendor": "Acme"},
    )
    event = table.bind(None)(
        {
            "at": "2026-03-04T10:00:00Z",
            "who": " eve ",
            "n": "3",
            "where": "192.0.2.1",
            "odd": [1],
            "empty": "",
        },
        0,
    )
    assert event.pop("event") == {
        "id": identify("acme.event", ["2026-03-04T10:00:00Z", "eve"]),
        "kind": "event",
        "dataset": "acme.event",
        "module": "acme",
    }
    assert event == {
        "@timestamp": "2026-03-04T10:00:00.000Z",
        "ecs": {"version": "9.4.0"},
        "data_stream": {"type": "logs", "dataset": "acme.event"},
        "observer": {"vendor": "Acme"},
        "message": "eve did it 3 times",
        "user": {"name": "eve"},
        "related": {"user": ["eve"], "ip": ["192.0.2.1"]},
        "acme": {"n": 3, "extra": {"odd": [1], "empty": ""}},
        "source": {"ip": "192.0.2.1", "address": "192.0.2.1"},
    }
    assert (
        "# where -> source.ip, source.address, related.ip" in table.source
        and "for " not in table.source.partition("kept.update")[0]
    )


def few(*names):
    return Dataset(
        "acme.event",
        clock=lambda record: None,
        identity=("id",),
        few=names,
        constant={"rule.version": "1"},
        rows=(
            Field("id", ("acme.id", "message")),
            Field("site", ("acme.site", "service.name", "related.hosts")),
            Field("level", "acme.level"),
            Split(
                "verdict",
                ("event.action", "event.type", "rule.name"),
                lambda said: (said.lower(), [said], said) if said != "odd" else int(said),
            ),
            Field("title", "message"),
            Field("host", ("destination.domain", "related.hosts", "related.ip")),
            Field("ip", ("source.ip", "related.ip")),
        ),
    )


@pytest.mark.parametrize(
    "names",
    [
        ("verdict",),
        ("site", "level", "verdict", "title", "host"),
        ("site", "host"),
        ("id", "site", "level", "verdict", "title", "host", "ip"),
    ],
)
def test_what_is_remembered_is_what_is_made_anew(names):
    """Of every kind: texts, 1 beside True and 1.0, what cannot be looked up, what is refused, a
    word said twice, nothing."""
    luck = random.Random(11)
    values = ["a", " b ", "-", "", None, 1, True, 1.0, 0, False, "odd", ["a"], {"a": []}, "1"]
    records = [
        {
            name: luck.choice(values)
            for name in luck.sample(
                ["id", "site", "level", "verdict", "title", "host", "ip", "else"],
                luck.randint(0, 8),
            )
        }
        for _ in range(3_000)
    ]
    say, plain = few(*names).bind(None, {"tags": ["x"]}), few().bind(None, {"tags": ["x"]})
    for record in records:
        made = say(record, 0)
        assert spell(made) == spell(plain(record, 0)), record  # 1 is not True in JSON
        made.get("acme", {}).clear()  # what one event still grows is its own
        made["event"].clear()


def test_a_row_with_the_last_word_keeps_it():
    """`message` is the id's, then the title's: the id's row may be remembered, the title's may
    not come before it."""
    assert few("title").bind(None)({"id": "7", "title": "seen"}, 0)["message"] == "seen"
    assert few("id", "title").bind(None)({"id": "7", "title": "seen"}, 0)["message"] == "seen"
    assert few("host").bind(None)({"site": "a", "host": "b"}, 0)["related"]["hosts"] == ["a", "b"]


def test_inputs_share_a_memory_only_where_their_settings_say_the_same():
    def named(said, *, names):
        return names.get(said, said)

    table = Dataset(
        "acme.event",
        clock=lambda record: None,
        identity=("n",),
        few=("n",),
        rows=(Field("n", "acme.n", named),),
    )
    say, other = (
        table.bind(SimpleNamespace(names=names)) for names in ({"1": "one"}, {"1": "uno"})
    )
    assert [say({"n": "1"}, 0)["acme"]["n"], other({"n": "1"}, 0)["acme"]["n"]] == ["one", "uno"]


def test_what_a_converter_refuses_is_kept_as_sent():
    table = Dataset(
        "acme.event",
        clock=lambda record: None,
        identity=("n",),
        rows=(Field("n", "acme.n", convert.integer),),
    )
    event = table.bind(None)({"n": "many"}, 1_000)
    assert (
        event["acme"] == {"extra": {"n": "many"}}
        and event["@timestamp"] == "1970-01-01T00:00:01.000Z"
    )


def deep(levels):
    value = "s3cret"
    for _ in range(levels):
        value = [value]
    return value


def break_all(record):
    raise ZeroDivisionError("s3cret")


@pytest.mark.parametrize("redact", [as_sent, break_all], ids=["as_sent", "break_all"])
@pytest.mark.parametrize("value", ["s3cret", deep(50_000)], ids=["short", "deep"])
@pytest.mark.parametrize("until", [0, NOON, 10**30, -5])
def test_a_record_that_the_mapping_breaks_on_is_an_event(redact, value, until):
    """Whatever converter, identity and redaction do; and where the redaction does not work,
    nothing is shown."""
    table = Dataset(
        "acme.event",
        clock=break_all,
        identity=(break_all,),
        redact=redact,
        rows=(Field("n", "acme.n", break_all),),
    )
    error = table.bind_error(None, {"tags": ["a"]})
    record, other = {"n": value, "m": 1}, {"n": value, "m": True}
    event = error(record, until, "2026-03-04T12:00:00.000Z")
    assert (
        event["event"]["kind"] == "pipeline_error"
        and event["error"]["message"]
        and event["tags"] == ["a"]
    )
    assert (
        event["@timestamp"] == rfc3339(min(max(until, 0), LATEST))
        and event["event"]["created"] == "2026-03-04T12:00:00.000Z"
    )
    assert (
        event["event"]["id"]
        == error(record, NOON)["event"]["id"]
        != error(other, NOON)["event"]["id"]
    )
    shown = redact is as_sent and value == "s3cret"
    assert ("original" in event["event"]) == shown == ("s3cret" in json.dumps(event))


def test_a_digest_tells_values_apart_whatever_their_shape():
    values = [
        None,
        1,
        True,
        1.0,
        "1",
        "",
        [],
        {},
        [[]],
        [{}],
        ["1", "2"],
        ["12"],
        {"1": "2"},
        ["\ud800"],
        ["\ud801"],
        [["1"], "2"],
        [["1", "2"]],
        10**5_000,
    ]
    assert len({digest_of(value) for value in values}) == len(values)
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


def test_constants_of_one_input_do_not_leak_into_another():
    say, other = (TINY.bind(None, {"tags": tags, "agent.name": tags[0]}) for tags in (["a"], ["b"]))
    assert say({"n": "1"}, 0)["tags"] == ["a"] and other({"n": "1"}, 0)["agent"] == {"name": "b"}


# Converters


@pytest.mark.parametrize(
    "said,meant",
    [
        ("2026-03-04T10:00:00.123Z", "2026-03-04T10:00:00.123Z"),
        ("2026-03-04T10:00:00Z", "2026-03-04T10:00:00.000Z"),
        ("2026-03-04T10:00Z", "2026-03-04T10:00:00.000Z"),
        ("2026-03-04 10:00:00,5", "2026-03-04T10:00:00.500Z"),
        ("2026-03-04T10:00:00.123456789+05:30", "2026-03-04T04:30:00.123Z"),
        ("2026-03-04T23:30:00-0100", "2026-03-05T00:30:00.000Z"),
    ],
)
def test_a_time(said, meant):
    assert convert.instant(said) == meant


@pytest.mark.parametrize(
    "said",
    [
        "yesterday",
        "2026-02-31T10:00:00.000Z",
        "2026-13-01T10:00:00.000Z",
        "2026-03-04T25:00:00.000Z",
        "2026-W10-3T10:02:13.417Z",
        "",
        None,
        5,
        "2026-03-04",
    ],
)
def test_no_time(said):
    with pytest.raises(ValueError):
        convert.instant(said)


@given(st.integers(-62_135_596_800_000, LATEST))
def test_our_time_there_and_back(moment):
    spelled = rfc3339(moment)
    assert re.fullmatch(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", spelled
    ), spelled
    assert convert.millis_of(spelled) == moment


@pytest.mark.parametrize("moment", [-62_135_596_800_001, LATEST + 1, 10**18, -(10**18), 10**400])
def test_a_year_that_four_digits_cannot_name_is_refused(moment):
    with pytest.raises(REFUSED):
        rfc3339(moment)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "0000-01-01T00:00:00Z"]
)
def test_the_edges_of_the_calendar_are_no_time_in_every_zone(text):
    with pytest.raises(ValueError):
        convert.instant(text)


@pytest.mark.parametrize(
    "said,meant",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("256.1.1.1", None),
        ("01.2.3.4", None),
        ("1.2.3", None),
        ("fe80::1%eth0", None),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("", None),
        (None, None),
        (7, None),
        ("a:b", None),
    ],
)
def test_an_address(said, meant):
    assert (convert.ip(said) or "").replace("::ffff:c000:201", "::ffff:192.0.2.1") == (meant or "")


def test_an_epoch_by_magnitude():
    assert convert.epoch(1772618400) == convert.epoch("1772618400000") == "2026-03-04T10:00:00.000Z"
    for said in ("", None, True, "12", "soon"):
        with pytest.raises(ValueError):
            convert.epoch(said)


# Settings


@dataclasses.dataclass(frozen=True)
class Form:
    name: str = manifest.text("Name", help="Who.")
    key: str = manifest.secret("Key", help="What nobody sees.")
    kind: str = manifest.choice("Kind", "one", "two", help="Which.")
    every: int = manifest.duration("Every", "60s", least="1s", most="1d", help="How often.")
    on: bool = manifest.switch("On", help="Whether.")
    many: int = manifest.integer("Many", 3, least=1, most=9, help="How many.")
    at: int = manifest.port("Port", 80, help="Where.")
    url: str = manifest.url("Address", "https://api.example.com", help="Where to.")
    words: tuple = manifest.many("Words", ("a",), options=("a", "b"), help="Some.")
    map: dict = manifest.table("Map", {"0": 99}, values=(21, 99), help="What is what.")


def test_answers_become_values():
    filled = manifest.fill_in(
        Form,
        {
            "name": 7,
            "key": "s3cret",
            "every": "2m",
            "on": "yes",
            "many": "9",
            "at": "443",
            "url": "http://h.example.com/x/",
            "words": "a, b",
            "map": {"1": "21"},
        },
    )
    assert (
        filled.name,
        filled.every,
        filled.on,
        filled.many,
        filled.at,
        filled.url,
        filled.words,
        filled.map,
    ) == ("7", 120_000, True, 9, 443, "http://h.example.com/x", ("a", "b"), {"1": 21})
    assert "s3cret" not in repr(filled)
    assert manifest.fill_in(Form, {"name": "n", "key": "k"}).every == 60_000


@pytest.mark.parametrize(
    "given,words",
    [
        ({}, "name (Name) is missing. Who."),
        ({"nane": "x"}, 'there is no setting "nane"; did you mean "name"?'),
        ({"kind": "tow"}, 'kind: "tow" is not one of one, two; did you mean "two"?'),
        (
            {"every": "1 day"},
            'every: "1 day" is no duration; use a number and a unit, such as 30s, 5m, 12h or 1d',
        ),
        ({"every": "2d"}, 'every: "2d" is not between 1s and 1d'),
        ({"on": "perhaps"}, "neither true nor false"),
        ({"many": "x"}, "not a whole number"),
        ({"many": 10}, "10 is not between 1 and 9"),
        ({"many": True}, "not a whole number"),
        ({"at": 65536}, "not between 0 and 65535"),
        ({"url": "api.example.com"}, "must look like"),
        ({"url": "https://u:p@api.example.com"}, "without a user"),
        ({"words": ["c"]}, 'words: "c" is not one of a, b'),
        ({"map": {"0": 50}}, 'map: "50" for 0 is not one of 21, 99'),
        ({"map": "x"}, "must be a table"),
        ({"name": ["x"]}, "must be a text"),
    ],
)
def test_a_mistake_is_one_clear_sentence(given, words):
    with pytest.raises(ConfigError) as caught:
        manifest.fill_in(
            Form, given if not given or "nane" in given else {"name": "n", "key": "s3cret", **given}
        )
    assert (
        words in str(caught.value)
        and "s3cret" not in str(caught.value)
        and "p@" not in str(caught.value)
    )


def test_every_form_describes_itself_in_full():
    for form in (Form, Every, Connection):
        for s in manifest.describe(form):
            assert s["kind"] in manifest.KINDS and s["label"] and s["help"].endswith((".", "?"))


def test_an_error_knows_where_it_is():
    error = (
        Retry("not now", "POST https://x/getAttackInfo: 503", after=5, status=503)
        .at("10:00 to 10:05")
        .at("apptrana")
    )
    assert str(error) == "apptrana: 10:00 to 10:05: POST https://x/getAttackInfo: 503: not now"


def test_the_core_is_pure():
    """No socket, file, clock or environment: read from the imports and the calls. The zones of
    the world are knowledge, wherever they are kept."""
    allowed = {
        "__future__",
        "dataclasses",
        "datetime",
        "difflib",
        "functools",
        "hashlib",
        "inspect",
        "ipaddress",
        "json",
        "linecache",
        "operator",
        "re",
        "typing",
        "urllib.parse",
        "zoneinfo",
    }
    import ast

    for path in (pathlib.Path(contract.__file__).parent / "core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {name.name for name in node.names} <= allowed, path
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module in allowed, path
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, f"{path} reaches out of core"
            if isinstance(node, ast.Attribute):
                assert node.attr not in (
                    "now",
                    "utcnow",
                    "today",
                    "time",
                    "environ",
                    "open",
                ), f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("open", "input", "print"), f"{path}:{node.lineno}"


def test_the_machine_names_no_vendor():
    folder = pathlib.Path(contract.__file__).parent
    for path in folder.rglob("*.py"):
        said = path.read_text().lower()
        for vendor in ("apptrana", "indusface", "centurylink", "pingintelligence"):
            assert vendor not in said, path


@pytest.mark.parametrize("depth", [99, 120, 140, 500, 900])
def test_what_is_nested_too_deep_is_refused_before_anything_chokes_on_it(depth):
    value = []
    for _ in range(depth - 2):
        value = [value, {"beside": 1}]
    if depth <= 128:
        assert shallow({"a": value}) == {"a": value}
    else:
        with pytest.raises(ValueError, match="too deep"):
            shallow({"a": value})
