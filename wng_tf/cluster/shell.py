"""The actor itself. It is sent to its machine as code and needs Python alone, so that it can say what else is missing."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from importlib import metadata
from typing import Any


class Shell:
    """Holds an object that is made at the first call, and answers with pairs of a word and what goes with it.

    Words: "ok" with a result, "missing" with what is not as it should be, and those of `wng_tf.cluster.served`.

    Args:
      path: where the program that started it finds modules.
      variables: of the environment, which decide with what TensorFlow computes.
      versions: of the packages on which the last digits depend, where it was started.
      pickled: what the object is, or what makes it.
    """

    def __init__(self, path: list[str], variables: dict[str, str], versions: dict[str, str], pickled: bytes):
        os.environ.update(variables)
        sys.path.extend(folder for folder in path if folder not in sys.path and os.path.isdir(folder))
        self._pickled, self._versions = pickled, versions
        self._served: Any = None

    def call(self, method: str, *args: Any) -> tuple[str, Any]:
        """What the object's method gives."""
        if self._served is None:
            for package, wanted in self._versions.items():
                found = _version(package)
                if found not in (None, wanted):
                    return "missing", f"on {socket.gethostname()}: {package} is {found} there, and {wanted} here"
            try:
                self._served = pickle.loads(self._pickled)
            except Exception as error:  # whatever the import of somebody's module raises
                return "missing", f"on {socket.gethostname()}: {type(error).__name__}: {error}"
        answer: tuple[str, Any] = self._served.answer(method, args)
        return answer


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None  # who needs it says so when it is imported
