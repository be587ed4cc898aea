"""To import this is to load torch and Lightning: the process does it from which a sweep's workers are forked."""

import os
import signal

from recsys.cli import load_run
from recsys.experiments.multirun import end_with_the_sweep

_before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without the traceback of half an import
load_run()
signal.signal(signal.SIGINT, _before)
os.register_at_fork(after_in_child=end_with_the_sweep)  # also a worker that never has a job
