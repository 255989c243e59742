"""A short campaign of disks that fail; the long one is `ci/campaign disk`."""

import collections

import campaign_damage
import campaign_disk
import pytest
from campaign_shipper import vendors_of

SEED = 7
# a path of each kind: before and after the first commit, a write, a sync, the spool alone
FAULTS = [
    campaign_disk.Fault("two", "", 25, "EIO", True, True, False, True),
    campaign_disk.Fault("sqlite", "", 120, "EROFS", True, False, True, False),
    campaign_disk.Fault("file", "", 250, "EIO", True, True, False, True),
    campaign_disk.Fault("two", "", 400, "ENOSPC", True, False, False, True),
    campaign_disk.Fault("sqlite", "data/spool", 20, "EROFS", True, True, False, True),
    campaign_disk.Fault("processes", "", 180, "EIO", True, False, True, True),
]


@pytest.fixture(scope="module")
def vendors():
    vendors = vendors_of(SEED)
    yield vendors
    vendors.close()


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_disk_that_fails_loses_and_doubles_nothing(vendors, fault):
    trial = campaign_disk.play(vendors, fault)
    assert trial.problems == [] and trial.failed and trial.result.must > 500


@pytest.mark.slow
def test_the_first_calls_of_a_start(vendors):
    """The lock, the folder's files, the database."""
    counts = collections.Counter()
    for fault in campaign_disk.faults_of(4, SEED, first=True):
        trial = campaign_disk.play(vendors, fault._replace(fresh=True))
        assert trial.problems == []
        counts += trial.counts
    assert counts["reached"] == 4 and counts["ended"] > 2


@pytest.mark.slow
def test_a_torn_or_damaged_database_is_refused_or_recovered(vendors):
    summary, broken = campaign_damage.play(vendors, 5, SEED)
    assert broken == [] and "cut log: recovered 1" in summary
