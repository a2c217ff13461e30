"""The garbage collector while it is paused, and afterwards."""

from __future__ import annotations

import gc

import pytest

from wng_tf.runtime import collector


@pytest.fixture(autouse=True)
def as_before():
    enabled, frozen = gc.isenabled(), gc.get_freeze_count()
    yield
    if not frozen:
        gc.unfreeze()
    (gc.enable if enabled else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was(enabled):
    (gc.enable if enabled else gc.disable)()
    with collector.paused():
        assert not gc.isenabled()
    assert gc.isenabled() == enabled
    with pytest.raises(ImportError), collector.paused(freeze=True):
        raise ImportError
    assert gc.isenabled() == enabled


def test_what_is_frozen_is_passed_over():
    gc.unfreeze()
    with collector.paused():
        pass
    assert gc.get_freeze_count() == 0
    with collector.paused(freeze=True):
        kept = [[] for _ in range(1000)]
    assert gc.get_freeze_count() >= len(kept)
