"""Mutants of what is redacted by its place, and of the time that a text takes: part of the list of
test_mutants.py."""

REDACTION = [
    (
        "../apptrana/redaction.py",
        "            present[name] = REDACTED\n",
        "            pass\n",
        "apptrana/test_mapping.py",
    ),
    (
        "../apptrana/mapping.py",
        '        redacted["attackData"] = REDACTED\n',
        "        pass\n",
        "apptrana/test_secrets.py",
    ),
    (
        "../apptrana/redaction.py",
        "    if secret_end(text, secret, loose=True) >= 0:\n        return True\n",
        "",
        "apptrana/test_secrets.py",
    ),
    (
        "../apptrana/redaction.py",
        "    return first_name(value, secret)\n",
        "    return unpaired(value, secret)\n",
        "apptrana/test_secrets.py",
    ),
    (
        "../apptrana/redaction.py",
        "        if end == len(quotes):\n            return\n",
        "        if end == len(quotes):\n            number += 1\n            continue\n",
        "test_linear.py::test_four_times_the_text_takes_at_most_about_four_times_the_time[-headers]",
    ),
]
