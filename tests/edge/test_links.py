"""Links to the next page, and the host that a token is for."""

import pytest

from siemtap.core.errors import Malformed
from siemtap.core.windows import HOUR
from siemtap.edge.client.api import Api
from siemtap.edge.client.bearer import Bearer
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Reply, Request, next_url, origin_of
from siemtap.edge.clock import Clock
from siemtap.testing.world import NOON

HERE = Request("GET", "https://api.example.com/v1/events?page=1")


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (None, None),
        ("", None),
        ("?page=2", "https://api.example.com/v1/events?page=2"),
        ("/v1/events?page=2", "https://api.example.com/v1/events?page=2"),
        ("more/2", "https://api.example.com/v1/more/2"),
        ("https://API.example.com:443/x", "https://API.example.com:443/x"),
    ],
)
def test_a_link_is_resolved_against_its_request(link, expected):
    assert next_url(HERE, link) == expected


ELSEWHERE = [
    "https://evil.example.net/v1/events",
    "//evil.example.net/v1",
    "http://api.example.com/v1/events",
    "https://api.example.com:8443/",
    "https://api.example.com@evil.example.net/",
    "https://evil.example.net\\@api.example.com/",
    "https://api.example.com.evil.example.net/",
    "https://api.example.com\n.evil.example.net/",
    "ftp://api.example.com/",
    "javascript:alert(1)",
    "https://[::1",
]


@pytest.mark.parametrize("link", ELSEWHERE)
def test_a_link_to_another_host_is_refused(link):
    with pytest.raises(Malformed, match=r"not to https://api.example.com"):
        next_url(HERE, link)


@pytest.mark.parametrize("link", [7, ["x"], {"href": "x"}, True])
def test_a_link_that_is_no_text_is_malformed(link):
    with pytest.raises(Malformed, match="is no text"):
        next_url(HERE, link)


@pytest.mark.parametrize("url", [*ELSEWHERE, "", "https://"])
def test_the_token_goes_to_no_other_host(url):
    sent = []

    def send(request, seconds):
        sent.append(request)
        return Reply(200, {}, b"{}")

    http = Http(send, clock=Clock(lambda: NOON, lambda: 0.0))
    api = Api(http, Bearer(http, lambda: ("t0ken", HOUR)), "https://api.example.com/v1")
    assert api.json(http.get("https://api.example.com/v1/x")) == {}
    with pytest.raises(Malformed, match="another host than https://api.example.com"):
        api.json(http.get(url))
    assert len(sent) == 1


def test_an_origin():
    assert origin_of("HTTPS://Example.com:443/x?y") == "https://example.com"
    assert origin_of("http://[2001:db8::1]:8080") == "http://[2001:db8::1]:8080"
    assert origin_of("example.com") == origin_of("") == ""
