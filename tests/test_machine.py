"""What tells machines apart, and who can read it."""

from __future__ import annotations

import subprocess
import sys

from hedra_batch.machine import name_machine


def test_a_machine_has_the_same_name_in_every_process() -> None:
    asked = "from hedra_batch.machine import name_machine; print(name_machine('salt'))"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True).stdout
    assert answer.strip() == name_machine("salt")


def test_two_batches_know_a_machine_by_different_names() -> None:
    assert name_machine("salt") != name_machine("another salt")
