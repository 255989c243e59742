"""Calls of an API behind a bearer token."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

from ...core.errors import Malformed
from .bearer import Bearer
from .http import Http
from .messages import Reply, Request, origin_of
from .replies import json_of, raise_for_status

Check = Callable[[Request, Reply], None]  # raises the error of a reply that is no success


class Api:
    """The API of one account.

    A request that is answered with 401 is sent again once, with a new token. `url`: of the API; the
    token goes to its host only, whatever a vendor's answer says. `check`: for a vendor whose
    statuses mean something else than `raise_for_status` says.
    """

    def __init__(self, http: Http, bearer: Bearer, url: str, check: Optional[Check] = None) -> None:
        self.http = http
        self.bearer = bearer
        self.origin = origin_of(url)
        self.check: Check = check or self._check

    def _check(self, request: Request, reply: Reply) -> None:
        raise_for_status(request, reply, self.http.now())

    def send(self, request: Request, accept: Tuple[int, ...] = ()) -> Reply:
        """Return the reply to a request with the token. Raise for any status that is neither a
        success nor in `accept`."""
        if not self.origin or origin_of(request.url) != self.origin:
            raise Malformed(
                f"the request would take the token to another host than {self.origin}: it is not"
                " sent",
                request.line,
            )
        token = self.bearer()
        sent = _with_token(request, token)
        reply = self.http.ask(sent)
        if reply.status == 401:
            sent = _with_token(request, self.bearer(refused=token))
            reply = self.http.ask(sent)
        if reply.status not in accept:
            self.check(sent, reply)  # with the token, so that an answer that quotes it is redacted
        return reply

    def json(self, request: Request) -> Any:
        """Return the JSON of a success. Raise Malformed for a body that is not JSON."""
        return json_of(request, self.send(request))


def _with_token(request: Request, token: str) -> Request:
    headers = {**request.headers, "Authorization": f"Bearer {token}"}
    return request._replace(headers=headers)
