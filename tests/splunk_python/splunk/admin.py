"""A simulator of splunk.admin: a request as JSON on standard input, a response on standard output.
It is as strict about arguments as the real module."""

import json
import sys
import traceback

ACTION_CREATE, ACTION_LIST, ACTION_EDIT, ACTION_REMOVE, ACTION_MEMBERS, ACTION_RELOAD = (
    1,
    2,
    4,
    8,
    16,
    32,
)
CONTEXT_NONE, CONTEXT_APP_ONLY, CONTEXT_APP_AND_USER = 1, 2, 3
EAI_ENTRY_ACL, EAI_ENTRY_ATTRIBUTES = "eai:acl", "eai:attributes"
ACTIONS = {
    "create": ACTION_CREATE,
    "list": ACTION_LIST,
    "edit": ACTION_EDIT,
    "remove": ACTION_REMOVE,
}
METHODS = {
    "create": "handleCreate",
    "list": "handleList",
    "edit": "handleEdit",
    "remove": "handleRemove",
}


class ArgValidationException(Exception):
    pass


class Arguments:
    def __init__(self):
        self.needed, self.allowed = [], []

    def addReqArg(self, name):
        self.needed.append(name)

    def addOptArg(self, name):
        self.allowed.append(name)


class Item(dict):
    def __init__(self):
        super().__init__()
        self.metadata = {}

    def setMetadata(self, name, value):
        self.metadata[name] = value


class Info(dict):
    def __missing__(self, name):
        self[name] = Item()
        return self[name]


class Caller:
    def __init__(self, request):
        self.id = request.get("id")
        self.data = {
            name: value if isinstance(value, list) else [value]
            for name, value in request["data"].items()
        }


class MConfigHandler:
    received = None

    def __init__(self, mode, context):
        self.requestedAction, self.callerArgs = (
            ACTIONS[self.received["action"]],
            Caller(self.received),
        )
        self.supportedArgs, self.userName, self.appName = Arguments(), "admin", self.received["app"]

    def getSessionKey(self):
        return self.received["session_key"]


def init(handler, ctxInfo=None):
    request = MConfigHandler.received = json.load(sys.stdin)
    real, sys.stdout = sys.stdout, sys.stderr
    try:
        instance = handler(None, ctxInfo)
        instance.setup()
        if request["action"] in ("create", "edit"):
            unknown = [
                name
                for name in instance.callerArgs.data
                if name
                not in (*instance.supportedArgs.needed, *instance.supportedArgs.allowed, "name")
            ]
            if unknown:
                raise ArgValidationException(
                    f'Argument "{unknown[0]}" is not supported by this handler.'
                )
            missing = [
                name
                for name in instance.supportedArgs.needed
                if name not in instance.callerArgs.data
            ]
            if request["action"] == "create" and missing:
                raise ArgValidationException(
                    f"The following required arguments are missing: {', '.join(missing)}."
                )
        info = Info()
        getattr(instance, METHODS[request["action"]])(info)
        response = {
            "entries": [{"name": name, "content": dict(item)} for name, item in info.items()]
        }
    except Exception as error:
        response = {
            "error": str(error),
            "kind": f"{type(error).__module__}.{type(error).__qualname__}",
            "where": traceback.format_exc(),
        }
    sys.stdout = real
    json.dump(response, sys.stdout)
