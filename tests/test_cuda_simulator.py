"""Numba's own simulator runs the kernels as well: in a process that chooses it from the start."""

import os
import pathlib
import subprocess
import sys

from emulator import needs_emulator


@needs_emulator
def test_a_network_learns_in_the_simulator():
    program = pathlib.Path(__file__).with_name("simulator.py")
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "SKNN_TEST_DEVICE": "emulated"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("one launch") == 2
