"""Ids and digests."""

import hashlib

import pytest

from siemtap.core.compile import bind
from siemtap.core.identity import digest_of, identify
from siemtap.core.rows import Dataset, Field
from siemtap.edge import schemas

VECTORS = schemas.read("identity-vectors.json")["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["why"])
def test_id_of_each_vector(vector):
    assert identify(vector["dataset"], vector["words"], vector.get("record")) == vector["id"]


@pytest.mark.parametrize("identity", [("id", "at"), lambda record: [record.get("id"), ""]])
def test_records_without_a_value_of_their_identity_are_not_merged(identity):
    dataset = Dataset("acme.event", lambda record: None, identity, (Field("id", "acme.id"),))
    event = bind(dataset, None)
    records = [{"n": 1}, {"n": 2}, {"n": 1, "id": None}, {"n": 1, "id": " "}, {"id": "x", "n": 1}]
    ids = [event(record, 0, None)["event"]["id"] for record in records]
    assert len(set(ids)) == 5
    assert ids[0] == identify("acme.event", [{"n": 1}])
    assert event({"id": "x", "n": 2}, 0, None)["event"]["id"] == ids[4]


def test_id_is_a_truncated_sha256_of_the_joined_values():
    values = (
        "apptrana.attack",
        "aagC07TexKihuU@MacwKKwAAAFE",
        "1021",
        "2026-03-04T10:02:13.417Z",
        "shop.example.com",
        "",
        "../../secret.cfg",
    )
    assert (
        hashlib.sha256("\n".join(values).encode()).hexdigest()[:32]
        == VECTORS[0]["id"]
        == "da1ab7f15aa8550fef338b9f4f405ebd"
    )


def test_any_value_has_an_id():
    for word in ("\ud800", float("nan"), 10**400, {"a": {1, 2}}, b"x", object()):
        assert len(identify("acme.event", [word])) == 32


def test_different_values_have_different_digests():
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
