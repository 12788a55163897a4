from __future__ import annotations

import json
import os
from pathlib import Path

from mosaic.harness import jail, surroundings


def test_a_plan_survives_json() -> None:
    plan = surroundings.plan("cpu")
    assert jail.plan_of(plan.to_json()) == plan


def test_the_status_is_lines_of_json() -> None:
    read, write = os.pipe()
    status = jail.Status(write)
    status.say(exit=3)
    status.say(boundaries=["a"])
    os.close(write)
    status.say(exit=4)  # nobody listens: no error
    lines = os.read(read, 1000).splitlines()
    os.close(read)
    assert [json.loads(line) for line in lines] == [{"exit": 3}, {"boundaries": ["a"]}]


def test_orphans_are_found_however_often_they_forked(tmp_path: Path) -> None:
    """A child adopts, then kills, grandchildren that left its session."""
    mark = tmp_path / "alive"
    child = os.fork()
    if child == 0:
        from mosaic.harness import system_calls

        system_calls.adopt_orphans()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                import time

                time.sleep(1.0)
                mark.write_text("x")
            os._exit(0)
        import time

        time.sleep(0.2)
        jail._end_orphans()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    import time

    time.sleep(1.2)
    assert not mark.exists()
