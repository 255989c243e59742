"""The service class that pythonservice.exe of pywin32 runs. Imported by it alone: only Windows has
these modules."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import Any, Iterator

import servicemanager
import win32service
import win32serviceutil

from ... import logs
from ...config.load import load
from ..main import explain, run_shipper
from ..options import data_folder_lock
from .commands import CONFIG_OPTION, NAME, check_for_service


class SiemtapService(win32serviceutil.ServiceFramework):  # type: ignore[misc]
    """`siemtap run` in the process of the service.

    Windows sends no signals: the service manager calls `SvcStop` in another thread.
    """

    _svc_name_ = NAME
    _svc_display_name_ = NAME

    def __init__(self, args: Any) -> None:
        super().__init__(args)
        self.stopping = threading.Event()
        self.shipper: Any = None

    def SvcStop(self) -> None:
        """Stop, once events that are being delivered are finished."""
        self.ReportServiceStatus(win32service.SERVICE_STOP_PENDING, 60_000)
        self.stopping.set()
        if self.shipper is not None:
            self.shipper.stop()

    def SvcShutdown(self) -> None:
        """Stop when Windows shuts down."""
        self.SvcStop()

    def SvcDoRun(self) -> None:
        """Run until the service is stopped. What ends it before goes into the event log, and the
        status of the service is that of a failed one."""
        try:
            code = self._run(win32serviceutil.GetServiceCustomOption(NAME, CONFIG_OPTION))
        except Exception as error:
            sentences, code = explain(error)
            servicemanager.LogErrorMsg("\n".join(sentences))
        if code:
            # no status of success, so that the recovery actions of the service are taken
            os._exit(code)

    def _run(self, file: str) -> int:
        config = load(file)
        check_for_service(config)
        logs.start(config.logging)
        with data_folder_lock(config):
            return run_shipper(
                config, once=False, patience=0, time_range=None, handling=self._handling
            )

    @contextmanager
    def _handling(self, shipper: Any, _reload: Any = None) -> Iterator[None]:
        """Let `SvcStop` stop a shipper."""
        self.shipper = shipper
        if self.stopping.is_set():
            shipper.stop()
        yield
