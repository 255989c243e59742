"""Stand-ins of pywin32's modules for services, for a machine without Windows.

Each rule is that of pywin32 312, win32/Lib/win32serviceutil.py, named with the function there:
installing keeps class, start type, account and command line, and a second one fails (CreateService,
1073); options are texts of the registry (SetServiceCustomOption); a service that is not there is
1060; `SvcRun` reports RUNNING, calls `SvcDoRun` and reports STOP_PENDING; `SvcStop` is called by the
manager, in another thread. Not here: the manager's time limits, accounts and rights.
"""

import sys
import threading
from types import ModuleType


class error(Exception):
    """pywintypes.error: (winerror, funcname, strerror)."""

    def __init__(self, winerror, funcname, strerror):
        super().__init__(winerror, funcname, strerror)
        self.winerror, self.funcname, self.strerror = winerror, funcname, strerror


class Manager:
    """The service control manager, and the modules that speak to it."""

    def __init__(self):
        self.services, self.statuses, self.events = {}, [], []
        self.fails = None  # (winerror, text) of the next call

    def opened(self, name):
        """SmartOpenService"""
        if self.fails:
            raise error(self.fails[0], "OpenSCManager", self.fails[1])
        if name not in self.services:
            raise error(1060, "GetServiceKeyName", "The specified service does not exist.")
        return self.services[name]

    def install(self, pythonClassString, serviceName, displayName, startType=None, **more):
        """InstallService"""
        if self.fails:
            raise error(self.fails[0], "OpenSCManager", self.fails[1])
        if serviceName in self.services:
            raise error(1073, "CreateService", "The specified service already exists.")
        assert set(more) <= {"userName", "description", "delayedstart", "exeName", "password"}
        self.services[serviceName] = {
            "class": pythonClassString,
            "start": startType,
            "running": False,
            "options": {},
            **more,
        }

    def set_option(self, serviceName, option, value):
        self.services[serviceName]["options"][option] = value

    def get_option(self, serviceName, option, defaultValue=None):
        return self.services[serviceName]["options"].get(option, defaultValue)

    def start(self, serviceName, args=None, machine=None):
        service = self.opened(serviceName)
        if service["running"]:
            raise error(1056, "StartService", "An instance of the service is already running.")
        service["running"] = True

    def stop(self, serviceName, machine=None):
        service = self.opened(serviceName)
        if not service["running"]:
            raise error(1062, "ControlService", "The service has not been started.")
        service["running"] = False

    def remove(self, serviceName):
        self.opened(serviceName)
        del self.services[serviceName]

    def framework(self):
        manager = self

        class ServiceFramework:
            def __init__(self, args):
                self.args = args

            def ReportServiceStatus(self, serviceStatus, waitHint=5000):
                manager.statuses.append(serviceStatus)

            def SvcRun(self):
                self.ReportServiceStatus("RUNNING")
                self.SvcDoRun()
                self.ReportServiceStatus("STOP_PENDING")

        return ServiceFramework

    def modules(self):
        """Return name -> module."""
        types = ModuleType("pywintypes")
        types.error = error
        service = ModuleType("win32service")
        service.SERVICE_AUTO_START, service.SERVICE_STOP_PENDING = 2, "STOP_PENDING"
        util = ModuleType("win32serviceutil")
        util.error = type("error", (Exception,), {})  # of LocatePythonServiceExe: a text
        util.InstallService, util.RemoveService = self.install, self.remove
        util.StartService, util.StopService = self.start, self.stop
        util.SetServiceCustomOption = self.set_option
        util.GetServiceCustomOption = self.get_option
        util.ServiceFramework = self.framework()
        servicemanager = ModuleType("servicemanager")
        servicemanager.LogErrorMsg = self.events.append
        modules = (types, service, util, servicemanager)
        return {module.__name__: module for module in modules}


def install(monkeypatch):
    """Put the stand-ins into sys.modules; return the manager."""
    manager = Manager()
    for name, module in manager.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "siemtap.shipper.cli.service.windows", raising=False)
    return manager


def in_thread(function):
    """Call a function as the service manager does, in a thread that is not the main one."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread
