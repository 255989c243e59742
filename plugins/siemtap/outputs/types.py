"""The types of outputs: what `output.<type>` and `outputs.<name>.type` may name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Dict

from ..core.errors import ConfigError, Retry
from . import file, sqlite, stdout
from .elasticsearch import settings as elasticsearch
from .kafka import settings as kafka
from .splunk_hec import settings as splunk_hec


@dataclass(frozen=True)
class OutputType:
    """A type of output. `place`: its class, as "module:name", imported when it is used: the client
    of a cluster alone is a fifth of a start. `writes_events`: it sends them as `encode` writes
    them."""

    settings_type: Any
    place: str
    writes_events: bool = True

    def load(self) -> Any:
        """Return its class.

        Raise ConfigError if its module, or a package that it needs, is not installed, and Retry if
        it cannot be read now, such as for want of descriptors.
        """
        module, _, name = self.place.partition(":")
        try:
            return getattr(import_module(module, __package__), name)
        except ImportError as error:
            raise ConfigError(
                f"the output's module {module} cannot be imported: {error}; install siemtap again,"
                " with the packages that it needs"
            ) from None
        except OSError as error:
            raise Retry(
                f"the output's module {module} cannot be read: {error.strerror}; once it can,"
                " reload the configuration or start siemtap again"
            ) from None


OUTPUTS: Dict[str, OutputType] = {
    "sqlite": OutputType(sqlite.Settings, ".sqlite:Sqlite"),
    "file": OutputType(file.Settings, ".file:File"),
    "stdout": OutputType(stdout.Settings, ".stdout:Stdout"),
    "elasticsearch": OutputType(elasticsearch.Settings, ".elasticsearch.output:Elasticsearch"),
    "opensearch": OutputType(elasticsearch.Settings, ".elasticsearch.output:Opensearch"),
    "splunk_hec": OutputType(
        splunk_hec.Settings, ".splunk_hec.output:SplunkHec", writes_events=False
    ),
    "kafka": OutputType(kafka.Settings, ".kafka.output:Kafka"),
}
CLUSTERS = ("elasticsearch", "opensearch")  # those that are search clusters
