"""A monitor of all environments at once."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from baselines_compat.monitor import ResultsWriter
from baselines_compat.vec_env.vec_env import VecEnv
from baselines_compat.vec_env.wrapper import VecEnvWrapper


class VecMonitor(VecEnvWrapper):
    """Puts each finished episode into the last step's `info["episode"]` (`r`, `l` and seconds `t`), and into a file.

    Args:
      venv: the environments.
      filename: see `ResultsWriter`; None records nothing on disk.
      keep_buf: how many of the last returns and lengths are kept in `epret_buf` and `eplen_buf`; 0: none.
      info_keywords: names to take out of the last info, too; recorded as columns.
    """

    def __init__(
        self,
        venv: VecEnv,
        filename: str | os.PathLike[str] | None = None,
        keep_buf: int = 0,
        info_keywords: Sequence[str] = (),
    ):
        super().__init__(venv)
        self.eprets = np.zeros(self.num_envs)
        self.eplens = np.zeros(self.num_envs, int)
        self.epcount = 0
        self.tstart = time.time()
        self.info_keywords = tuple(info_keywords)
        self.results_writer: ResultsWriter | None = None
        if filename:
            self.results_writer = ResultsWriter(filename, {"t_start": self.tstart}, extra_keys=self.info_keywords)
        self.keep_buf = keep_buf
        self.epret_buf: deque[float] = deque(maxlen=keep_buf)
        self.eplen_buf: deque[int] = deque(maxlen=keep_buf)

    def reset(self) -> np.ndarray:
        self.eprets[:], self.eplens[:] = 0.0, 0
        return self.venv.reset()

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        observations, rewards, dones, infos = self.venv.step_wait()
        self.eprets += rewards
        self.eplens += 1
        given = list(infos)
        for i in np.flatnonzero(dones).tolist():
            given[i] = {**infos[i], "episode": self._finish(i, infos[i])}
        return observations, rewards, dones, given

    def _finish(self, i: int, info: dict) -> dict:
        total, length = float(self.eprets[i]), int(self.eplens[i])
        self.eprets[i], self.eplens[i] = 0.0, 0
        self.epcount += 1
        self.epret_buf.append(total)
        self.eplen_buf.append(length)
        episode = {"r": round(total, 6), "l": length, "t": round(time.time() - self.tstart, 6)}
        episode |= {key: info[key] for key in self.info_keywords}
        if self.results_writer is not None:
            self.results_writer.write_row(episode)
        return episode

    def close(self) -> None:
        super().close()
        if self.results_writer is not None:
            self.results_writer.close()
