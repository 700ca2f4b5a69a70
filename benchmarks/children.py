"""Measures in a process of its own, where nothing else has been imported, allocated or started."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def in_child(function: str, **arguments: Any) -> Any:
    """Call ``module:function`` in a new process and return what it returns; both ways as JSON. Blocks.

    The process ends without waiting for threads. Raises RuntimeError if it fails; standard error says why.
    """
    module, _, name = function.partition(":")
    code = (
        f"import json, os, sys; sys.path[:] = {sys.path!r}; from {module} import {name}; "
        f"answer = json.dumps({name}(**json.loads(sys.stdin.read()))); "
        "sys.stdout.write('\\n' + answer); sys.stdout.flush(); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(arguments), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the process of {function} has failed with {done.returncode}; what it wrote above says why")
    return json.loads(done.stdout.splitlines()[-1])
