"""Whether the index templates that `siemtap setup` makes exist for what is delivered."""

from __future__ import annotations

import logging
from typing import List, Set, Tuple

from elasticsearch import ApiError, Elasticsearch, NotFoundError

from ...core.errors import ConfigError
from ...core.rows import Event
from ..index_names import data_stream
from .client import FAILURES, error_from

log = logging.getLogger("siemtap")

LONGEST_LOOK = 5.0  # seconds to wait for an answer that only a warning depends on


class Templates:
    """Asks a cluster once for each data stream."""

    def __init__(self, client: Elasticsearch, flavour: str) -> None:
        self.client = client
        self.flavour = flavour
        # (data stream, dataset) of data streams that were asked for
        self.asked: Set[Tuple[str, str]] = set()

    def require(self, events: List[Event]) -> None:
        """Raise ConfigError if OpenSearch has neither the data stream of an event nor a template
        for it: it would create a plain index with guessed types instead.

        If the user may not ask, the data stream counts as present.
        """
        streams = {(data_stream(event), event["data_stream"]["dataset"]) for event in events}
        for stream, dataset in sorted(streams - self.asked):
            try:
                self._require(stream, dataset)
            except ApiError as error:
                if error.status_code != 403:
                    raise error_from(error, self.flavour, f"asking for {stream}") from None
            except FAILURES as error:
                raise error_from(error, self.flavour, f"asking for {stream}") from None
            self.asked.add((stream, dataset))

    def _require(self, stream: str, dataset: str) -> None:
        try:
            self.client.indices.get_data_stream(name=stream)
        except NotFoundError:
            if not self.client.indices.exists_index_template(name=f"siemtap-{dataset}"):
                raise ConfigError(
                    f"output.{self.flavour}: neither the data stream {stream} nor the index"
                    f" template siemtap-{dataset} exists; run `siemtap setup`"
                ) from None

    def warn(self, event: Event) -> None:
        """Log a warning if Elasticsearch lacks the template of an event that it has taken.

        Its own template for all logs-*-* made the data stream, so that events arrive, and nothing
        but their types is wrong. Whatever goes wrong here stops no delivery.
        """
        stream, dataset = data_stream(event), event["data_stream"]["dataset"]
        if (stream, dataset) in self.asked:
            return
        self.asked.add((stream, dataset))
        client = self.client.options(request_timeout=LONGEST_LOOK)
        try:
            exists = any(  # that of `siemtap setup`, or of the Elastic package
                client.indices.exists_index_template(name=f"{prefix}-{dataset}")
                for prefix in ("siemtap", "logs")
            )
        except FAILURES:  # such as 403 for a user that may only write
            return
        if not exists:
            log.warning(
                "output.%s: there is no index template siemtap-%s, so the cluster guesses the types"
                " of fields in %s; run `siemtap setup`. A data stream that exists takes the types"
                " at its next rollover",
                self.flavour,
                dataset,
                stream,
            )
