"""What senders ask to be confirmed: off the receiving path, bounded, once, and after a restart."""

import threading

import pytest
from processes import wait_for

from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.model import Confirmation, Mark, Unit
from siemtap.edge.clock import SYSTEM
from siemtap.engine import confirmations
from siemtap.engine.confirmations import Confirmations

UNIT = Unit("it", "acme.event", "confirmations")
FIRST = Confirmation({"topic": "a", "token": "1"}, "open https://a.example.com/")
SECOND = Confirmation({"topic": "a", "token": "2"}, "open https://b.example.com/")


class Store:
    """Checkpoints in memory. `error`: raised by the next saves."""

    def __init__(self):
        self.mark = Mark()
        self.error = None

    def load(self, unit):
        assert unit == UNIT
        return self.mark

    def save(self, unit, mark):
        if self.error:
            raise self.error
        self.mark = Mark.from_json(mark.to_json())

    @property
    def waiting(self):
        return [notice for _, notice in self.mark.cursor.get("waiting", ())]


class Confirm:
    """A plugin's `confirm`. `errors`: raised by the first calls. `go`: calls wait until it is
    set."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, confirmation):
        self.calls.append(confirmation)
        assert self.go.wait(300)
        if self.errors:
            raise self.errors.pop(0)
        return f"confirmed {confirmation.values['token']}"


@pytest.fixture
def soon(monkeypatch):
    policy = confirmations.POLICY._replace(first_wait=0.001, max_wait=0.01, max_wait_malformed=0.01)
    monkeypatch.setattr(confirmations, "POLICY", policy)


@pytest.fixture
def lines(caplog):
    caplog.set_level("INFO")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def confirming(confirm, store=None):
    return Confirmations(UNIT, confirm, store or Store(), SYSTEM)


def wait_until_idle(*all_confirmations):
    wait_for(lambda: not any(each.thread for each in all_confirmations))


def test_the_same_twice_is_one(lines):
    store, confirm = Store(), Confirm()
    confirming_ = confirming(confirm, store)
    confirm.go.clear()
    confirming_.add(FIRST)
    confirming_.add(FIRST)  # while it waits
    assert store.waiting == [FIRST.notice]
    confirm.go.set()
    wait_until_idle(confirming_)
    confirming_.add(Confirmation(dict(FIRST.values), FIRST.notice))  # and afterwards
    wait_until_idle(confirming_)
    assert confirm.calls == [FIRST] and store.waiting == []
    assert lines() == [("INFO", "it: confirmed 1")]


def test_call_that_hangs_holds_up_nobody():
    confirm = Confirm()
    confirm.go.clear()
    confirming_ = confirming(confirm)
    confirming_.add(FIRST)
    wait_for(lambda: confirm.calls)
    for number in range(50):  # each returns at once
        confirming_.add(Confirmation({"token": str(number)}, "open it"))
    assert confirm.calls == [FIRST]
    confirm.go.set()
    wait_until_idle(confirming_)
    assert len(confirm.calls) == 51


@pytest.mark.parametrize("error", [Retry("no answer"), Malformed("not XML"), ValueError("a bug")])
def test_what_may_pass_is_tried_again(soon, lines, error):
    store, confirm = Store(), Confirm(error, error, error)
    confirming_ = confirming(confirm, store)
    confirming_.add(FIRST)
    wait_until_idle(confirming_)
    assert confirm.calls == [FIRST] * 4 and store.waiting == []
    assert ("INFO", "it: confirmed 1") in lines()
    assert lines()[0][0] in ("WARNING", "ERROR")  # the failure is logged, once
    assert len([level for level, _ in lines() if level != "INFO"]) == 1


@pytest.mark.parametrize("error", [ConfigError("the signature does not fit"), AuthError("refused")])
def test_what_only_a_person_can_mend_is_logged_with_what_to_do(lines, error):
    store, confirm = Store(), Confirm(error)
    confirming_ = confirming(confirm, store)
    confirming_.add(FIRST)
    wait_until_idle(confirming_)
    confirming_.add(FIRST)
    wait_until_idle(confirming_)
    assert confirm.calls == [FIRST] and store.waiting == []
    assert [level for level, _ in lines()] == ["ERROR", "WARNING"]
    assert error.message in lines()[0][1]
    assert lines()[1][1] == f"it: not confirmed: {FIRST.notice}"


def test_restart_goes_on_with_what_waits(soon):
    store, offline = Store(), Confirm()
    offline.go.clear()
    before = confirming(offline, store)
    before.add(FIRST)
    before.add(SECOND)
    wait_for(lambda: offline.calls)
    before.close()
    after_restart = Confirm()
    after = confirming(after_restart, store)
    assert after_restart.calls == []
    after.start()
    wait_until_idle(after)
    assert after_restart.calls == [FIRST, SECOND] and store.waiting == []
    # the call that hung ends only now: it leaves the checkpoint of its successor alone
    store.mark = Mark({"waiting": [[{"token": "3"}, "open it"]]})
    offline.go.set()
    wait_until_idle(before)
    assert store.waiting == ["open it"]
    with pytest.raises(Retry):  # the payload is read again
        before.add(Confirmation({"token": "4"}, "open it, too"))
    assert before.thread is None and store.waiting == ["open it"]


def test_more_than_can_wait_are_logged(monkeypatch, lines):
    monkeypatch.setattr(confirmations, "MAX_WAITING", 1)
    confirm = Confirm()
    confirm.go.clear()
    confirming_ = confirming(confirm)
    confirming_.add(FIRST)
    confirming_.add(SECOND)
    assert lines() == [("WARNING", f"it: 1 confirmations wait already: {SECOND.notice}")]
    confirm.go.set()
    wait_until_idle(confirming_)
    assert confirm.calls == [FIRST]


def test_disk_that_is_full(lines):
    store, confirm = Store(), Confirm()
    confirming_ = confirming(confirm, store)
    store.error = Retry("the disk is full")
    with pytest.raises(Retry):  # the payload is read again later
        confirming_.add(FIRST)
    assert confirm.calls == [] and confirming_.thread is None
    store.error = None
    confirm.go.clear()
    confirming_.add(FIRST)
    store.error = Retry("the disk is full")
    confirm.go.set()
    wait_until_idle(confirming_)
    assert confirm.calls == [FIRST]
    assert lines()[-1] == ("WARNING", "it/acme.event/confirmations: the disk is full")
    assert store.waiting == [FIRST.notice]  # it comes again after a restart, which does no harm
