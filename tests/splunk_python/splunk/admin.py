"""splunk.admin: one request as JSON on standard input, one answer on standard output. As strict
about arguments as the real one."""

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
    def __init__(self, asked):
        self.id = asked.get("id")
        self.data = {
            name: value if isinstance(value, list) else [value]
            for name, value in asked["data"].items()
        }


class MConfigHandler:
    asked = None

    def __init__(self, mode, context):
        self.requestedAction, self.callerArgs = ACTIONS[self.asked["action"]], Caller(self.asked)
        self.supportedArgs, self.userName, self.appName = Arguments(), "admin", self.asked["app"]

    def getSessionKey(self):
        return self.asked["session_key"]


def init(handler, ctxInfo=None):
    asked = MConfigHandler.asked = json.load(sys.stdin)
    real, sys.stdout = sys.stdout, sys.stderr
    try:
        one = handler(None, ctxInfo)
        one.setup()
        if asked["action"] in ("create", "edit"):
            unknown = [
                name
                for name in one.callerArgs.data
                if name not in (*one.supportedArgs.needed, *one.supportedArgs.allowed, "name")
            ]
            if unknown:
                raise ArgValidationException(
                    f'Argument "{unknown[0]}" is not supported by this handler.'
                )
            missing = [name for name in one.supportedArgs.needed if name not in one.callerArgs.data]
            if asked["action"] == "create" and missing:
                raise ArgValidationException(
                    f"The following required arguments are missing: {', '.join(missing)}."
                )
        info = Info()
        getattr(one, METHODS[asked["action"]])(info)
        said = {"entries": [{"name": name, "content": dict(item)} for name, item in info.items()]}
    except Exception as error:
        said = {
            "error": str(error),
            "kind": f"{type(error).__module__}.{type(error).__qualname__}",
            "where": traceback.format_exc(),
        }
    sys.stdout = real
    json.dump(said, sys.stdout)
