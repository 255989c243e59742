"""Where events go: one file per output, all under one contract test (tests/outputs/test_contract.py)."""
