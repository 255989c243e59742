"""A simulator of splunk.rest: one call to splunkd, as solnlib makes it."""

import os
import urllib.parse
import urllib.request


def simpleRequest(path, sessionKey=None, getargs=None, postargs=None, method="GET", **more):
    url = (
        os.environ["SPLUNKD_URI"]
        + path
        + (f"?{urllib.parse.urlencode(getargs)}" if getargs else "")
    )
    request = urllib.request.Request(
        url,
        data=urllib.parse.urlencode(postargs).encode() if postargs else None,
        method=method,
        headers={"Authorization": f"Splunk {sessionKey}"},
    )
    with urllib.request.urlopen(request) as answer:
        return {"status": str(answer.status)}, answer.read()


def getWebCertFile():
    return None


def getWebKeyFile():
    return None


def is_cert_or_key_encrypted(*arguments):
    return False
