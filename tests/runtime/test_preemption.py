import os
import signal
import subprocess
import sys

import pytest

from rexjax.runtime import preemption
from rexjax.runtime.preemption import Preempted


@pytest.fixture(autouse=True)
def signals_are_heard():
    """Tests in the background of a shell, or under nohup, inherit signals that are ignored."""
    numbers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def strike(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_at_once_where_nothing_holds(number):
    with pytest.raises(Preempted), preemption.watched():
        strike(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
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


def test_a_hang_up_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    try:
        with preemption.watched():
            strike(signal.SIGHUP)
            assert not preemption.asked()
    finally:
        signal.signal(signal.SIGHUP, before)


TALKER = """
import signal, sys
from rexjax.runtime import preemption
with preemption.watched():
    try:
        print("ready", flush=True)
        signal.pause()
    except preemption.Preempted:
        print("said to nobody", flush=True)
        print("and so is this", file=sys.stderr, flush=True)
        sys.exit(75)
"""


TERMINAL = """
import os, pty, sys
process, terminal = pty.fork()
if not process:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
while b"ready" not in os.read(terminal, 100):
    pass
os.close(terminal)  # the kernel hangs up
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


def test_a_terminal_that_is_gone_hears_nothing_and_breaks_nothing():
    assert subprocess.run([sys.executable, "-c", TERMINAL, TALKER], timeout=60).returncode == 75
