"""The check of a configuration against its JSON Schema."""

from __future__ import annotations

from typing import Any, Dict, Iterable

import jsonschema_rs


class Validator:
    """A JSON Schema of draft-07. jsonschema is the authority and finds what is wrong; it is
    imported only for a value that the compiled validator does not accept, as its import takes
    longer than the rest of a start."""

    def __init__(self, schema: Dict[str, Any]) -> None:
        self.schema = schema
        self.compiled = jsonschema_rs.Draft7Validator(schema, validate_formats=False)

    def iter_errors(self, value: Any) -> Iterable[Any]:
        """Return the errors of a value, as jsonschema has them."""
        try:
            if self.compiled.is_valid(value):
                return ()
        except ValueError:  # it cannot be read, such as a lone surrogate
            pass
        import jsonschema

        return jsonschema.Draft7Validator(self.schema).iter_errors(value)
