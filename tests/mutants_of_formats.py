"""Mutants of the readers of syslog, CEF and LEEF, and of the classes of Deep Security: part of the list
of test_mutants.py."""

FORMATS = [
    (
        "core/formats/syslog.py",
        "MAX_HEADERS = 8",
        "MAX_HEADERS = 1",
        "core/test_syslog.py",
    ),
    (
        "core/formats/syslog.py",
        "(?: ([12][0-9]{3}))? ",
        " ",
        "core/test_syslog.py",
    ),
    (
        "core/formats/cef.py",
        'return match[1] if match[1] in "\\\\=|" else match[0]\n\n\ndef _unescape(',
        "return _unescape(match)\n\n\ndef _unescape(",
        "core/test_cef_and_leef.py",
    ),
    (
        "../centurylink_ips/classes.py",
        '"manager" in product.lower()',
        'product == "Deep Security Manager"',
        "centurylink_ips/test_classes.py",
    ),
    (
        "../centurylink_ips/classes.py",
        '    if "fail" in word or "unsuccess" in word or word in ALLOWED:\n',
        "    if word in ALLOWED:\n",
        "centurylink_ips/test_classes.py",
    ),
    (
        "../centurylink_ips/mapping.py",
        '        return [record["@element"], record.get("@instant")]\n',
        '        return [record.get("DPIRuleID"), record.get("@instant")]\n',
        "centurylink_ips/test_classes.py",
    ),
]
