"""siemtap: vendor collectors. `core` is pure, `edge` is the world, `engine` is the loop,
`runners` host it."""

VERSION = "0.1.0"
