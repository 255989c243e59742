"""What a vendor declares for its integration package."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Tuple

PULLED = "cel"
INPUTS = {
    PULLED: "by its API",
    "http_endpoint": "by webhook",
    "udp": "by syslog over UDP",
    "tcp": "by syslog over TCP",
    "filestream": "from a file",
}


class Way(NamedTuple):
    """An input of the agent for a dataset."""

    input: str
    account: Tuple[str, ...] = ()  # settings that all inputs of this kind share
    own: Tuple[str, ...] = ()  # settings of this input
    cel: str = ""  # the program; its state has all settings
    needed: Tuple[str, ...] = ()  # settings that are required here
    # setting -> option that an agent does not support -> reason
    without: Mapping[str, Mapping[str, str]] = {}
    port: int = 0  # the default port
    base: str = "url"  # the setting with the API's address


class Stream(NamedTuple):
    """The inputs of a dataset, and what its pipeline needs besides the mapping table."""

    ways: Tuple[Way, ...]
    sample: str  # the case whose first event is the sample event
    reader: str = ""  # the Painless function that makes the record
    reads: Tuple[str, ...] = ()  # settings that `reader` needs
    elsewhere: Mapping[str, Dict[str, Any]] = {}  # field -> the processor that sets it
    wanted: bool = True  # whether the first way is enabled by default
    reads_apart: bool = False  # `reader` has a script of its own: one for all would be too long
    # For events that tell a state: the fields that together name what has it. A transform keeps the
    # latest event of each.
    latest: Tuple[str, ...] = ()


class Package(NamedTuple):
    """The integration package of a plugin."""

    streams: Mapping[str, Stream]  # by dataset
    twins: str  # Painless functions for the converters that declare nothing
    absent: Mapping[str, str] = {}  # setting that the form does not have -> reason
