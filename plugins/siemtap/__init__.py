"""siemtap: vendor collectors. `core` is pure, `edge` is the world, `engine` is the loop,
`shipper` and `splunk` host it."""

VERSION = "0.1.0"
