"""One call to splunkd, as solnlib asks for where it is."""

import os
import urllib.parse
import urllib.request


def simpleRequest(path, sessionKey=None, getargs=None, postargs=None, method="GET", **more):
    url = (
        os.environ["SPLUNKD_URI"]
        + path
        + (f"?{urllib.parse.urlencode(getargs)}" if getargs else "")
    )
    asked = urllib.request.Request(
        url,
        data=urllib.parse.urlencode(postargs).encode() if postargs else None,
        method=method,
        headers={"Authorization": f"Splunk {sessionKey}"},
    )
    with urllib.request.urlopen(asked) as answer:
        return {"status": str(answer.status)}, answer.read()


def getWebCertFile():
    return None


def getWebKeyFile():
    return None


def is_cert_or_key_encrypted(*words):
    return False
