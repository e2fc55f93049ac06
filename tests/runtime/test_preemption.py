import os
import signal

import pytest

from rexjax.runtime import preemption
from rexjax.runtime.preemption import Preempted


def strike(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_once_where_nothing_holds(number):
    with pytest.raises(Preempted), preemption.watched():
        strike(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_holds_is_asked_and_stops_where_it_will(number):
    with preemption.watched(), preemption.held():
        preemption.stop_if_asked()
        assert not preemption.asked()
        strike(number)
        assert preemption.asked()
        with pytest.raises(Preempted):
            preemption.stop_if_asked()


def test_a_second_interrupt_does_not_wait():
    with preemption.watched(), preemption.held():
        strike(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            strike(signal.SIGINT)


def test_work_of_one_process_stops_at_once_though_others_hold():
    with preemption.watched(), preemption.held():
        with pytest.raises(Preempted), preemption.at_once():
            strike()
        with pytest.raises(Preempted), preemption.at_once():  # asked before
            raise AssertionError


def test_afterwards_signals_do_what_they_did():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.watched():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before and not preemption.asked()
