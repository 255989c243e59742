"""Simulators of Splunk's own modules, as far as the REST handlers import them."""


class RESTException(Exception):
    pass


def getSessionKey(*arguments, **more):
    return None
