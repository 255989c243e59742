"""An error of the simulated search cluster."""


class Refusal(Exception):
    def __init__(self, status, kind, reason):
        super().__init__(reason)
        self.status, self.body = (
            status,
            (
                {"error": {"root_cause": [], "type": kind, "reason": reason}, "status": status}
                if kind
                else {}
            ),
        )
