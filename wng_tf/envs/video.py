"""Films of environments, without a screen: `with filming("out.mp4", "Hopper-v5") as world:` and step `world`.

PyBullet draws in software. MuJoCo needs OpenGL off the screen: `MUJOCO_GL=egl` (graphics card or Mesa) or `osmesa`
(software); if the variable is not set, the first one that works here is taken.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from baselines_compat.vec_env.faults import described, is_users
from wng_tf.envs import tasks, traits
from wng_tf.envs.apart import placed
from wng_tf.envs.guarded import Guarded
from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError
from wng_tf.runtime import faults
from wng_tf.runtime.paths import expanded

#: Frames per second at most. Browsers and players slow a GIF of more down.
FORMATS = {".mp4": 60.0, ".gif": 25.0}
_INSTALL = "pip install 'imageio[ffmpeg]' (the extra [video] of wng_tf)"
_DEFAULT_FPS = 30.0
#: Pixels of a frame, where the environment lets itself be told.
WIDTH, HEIGHT = 640, 480
_OPENGL_ADVICE = (
    "Without a screen MuJoCo draws through EGL (MUJOCO_GL=egl, Debian's libegl1 or a graphics driver) "
    "or in software (MUJOCO_GL=osmesa, Debian's libosmesa6)."
)

_TRY_OPENGL = """
import mujoco
context = mujoco.GLContext(64, 64)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_150)
"""


def check(path: str | os.PathLike[str]) -> None:
    """Say early what would keep a film from being written.

    Raises:
      UserError: neither .mp4 nor .gif, no folder to write to, or imageio is not installed.
    """
    path = expanded(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--video={path}: a film is an .mp4 or a .gif file.")
    if not path.parent.is_dir():
        raise UserError(f"--video={path}: there is no folder '{path.parent}'.")
    try:
        import imageio  # noqa: F401

        if path.suffix.lower() == ".mp4":
            import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise UserError(f"--video needs the package {error.name}: {_INSTALL}.") from None


@contextlib.contextmanager
def filming(
    path: str | os.PathLike[str], env: str | Task, timeout: float = 0.0, own_process: bool | None = None
) -> Iterator[gymnasium.Env]:
    """An environment whose frames go to the file `path`, in real time, one for each reset and step.

    Frames are 640 x 480 where the environment lets itself be told (MuJoCo's and PyBullet's do), else as it draws them.
    The film is complete when the block ends; after an exception there is none.

    Args:
      path: an .mp4 or .gif file, replaced if it exists.
      env: a short name, a Gymnasium id or a task.
      timeout: seconds after which the environment is given up when it does not come back; 0: never.
      own_process: whether the environment, and the camera, are in a process of their own, as they have to be where a policy
        acts through TensorFlow (`placed`); None: if OpenGL is to draw, and TensorFlow is in this process already.

    Raises:
      UserError: see `check`; or the environment cannot be made, or drawn.
      WorkerError: the process died.
    """
    check(path)
    named = str(expanded(path))
    path = expanded(path).absolute()  # an environment may change the working folder
    task = tasks.resolve(env)
    if task.kind == "mujoco":
        _choose_opengl()
    try:
        with placed(functools.partial(_filming, path, named, task, timeout), task, ("mujoco",), own_process) as world:
            yield world
    finally:
        _forget(path)  # what a process that died has left


@contextlib.contextmanager
def _filming(path: Path, named: str, task: Task, timeout: float) -> Iterator[gymnasium.Env]:
    """`filming` in this process; `named` is the path as it was given, for what is said of it."""
    opengl = task.kind == "mujoco"
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws in memory, and need not look for a screen
    unfinished = _unfinished(path)
    with Guarded(task, timeout, **traits.drawing(task, "rgb_array")) as world:
        _set_size(world.unwrapped)
        fps = float(world.metadata.get("render_fps") or _DEFAULT_FPS)
        stride = math.ceil(fps / FORMATS[path.suffix.lower()])
        try:
            with _writing(named), contextlib.closing(_writer(unfinished, fps / stride)) as writer:
                camera = _Camera(world, writer, stride, task.name, opengl)
                yield camera
            with _writing(named):
                _check_whole(unfinished, camera.written)
                os.replace(unfinished, path)
        finally:
            _forget(path)


def _unfinished(path: Path) -> Path:
    """The file of a film that is not complete."""
    return path.with_name(f".{path.stem}.unfinished{path.suffix.lower()}")


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):
        _unfinished(path).unlink(missing_ok=True)


class _Camera(gymnasium.Wrapper):
    """Hands every `stride`-th frame to `writer`; `opengl` says whether drawing needs it."""

    def __init__(self, env: gymnasium.Env, writer: Any, stride: int, name: str, opengl: bool):
        super().__init__(env)
        self._writer = writer
        self._stride = stride
        self._name = name
        self._opengl = opengl
        self._frames = 0
        self.written = 0

    def reset(self, **kwargs: Any):
        result = self.env.reset(**kwargs)
        self._film()
        return result

    def step(self, action: Any):
        result = self.env.step(action)
        self._film()
        return result

    def _film(self) -> None:
        if self._frames % self._stride == 0:
            self._writer.append_data(self._draw())
            self.written += 1
        self._frames += 1

    def _draw(self) -> Any:
        try:
            frame: Any = self.env.render()
        except BaseException as error:  # MuJoCo, OpenGL and pygame each have their own
            if is_users(error):
                raise
            raise UserError(f"{self._name} cannot be drawn: {self._reason(error)}") from error
        if frame is None:
            raise UserError(f"{self._name} cannot be drawn: it has no render mode 'rgb_array'.")
        shape = np.shape(frame)
        if len(shape) != 3 or shape[-1] not in (3, 4):
            what = f"an array of shape {shape}" if shape else f"a {type(frame).__name__}"
            raise UserError(
                f"{self._name} cannot be drawn: its render() gave {what}, not a picture of shape (height, width, 3)."
            )
        return frame

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, NotImplementedError):
            return "it has no render()."
        text = described(error)
        if "pip install" in text or not self._opengl:
            return f"{text}."
        return f"{text}. {_OPENGL_ADVICE}"


@contextlib.contextmanager
def _writing(named: str) -> Iterator[None]:
    """Turns what the writers raise in the block into a sentence. An environment's errors are of other types."""
    try:
        yield
    except OSError as error:
        # ffmpeg's process ends, and the system's word for it, a broken pipe, comes with the whole of its log.
        why = "ffmpeg ended early" if isinstance(error, BrokenPipeError) or "FFMPEG" in str(error) else faults.reason(error)
        raise UserError(f"Cannot write to '{named}' ({why}): see that there is room, or give another --video.") from error


def _check_whole(path: Path, frames: int) -> None:
    """OSError if a film lacks frames: ffmpeg says nothing of a disk that was full at the end."""
    if path.suffix == ".mp4":
        import imageio_ffmpeg

        try:
            found, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
        except Exception:  # it is a file of nothing that ffmpeg knows
            found = 0
        if found < frames:
            raise OSError(errno.EIO, f"{found} of {frames} frames came through")


def _writer(path: Path, fps: float) -> Any:
    import imageio.v2 as imageio

    if path.suffix == ".gif":
        return _Gif(path, fps)
    return imageio.get_writer(path, fps=fps, macro_block_size=2)


class _Gif:
    """imageio's writer of a GIF, which keeps the frames until its end and would try to write them again if it failed."""

    def __init__(self, path: Path, fps: float):
        import imageio.v2 as imageio

        self._path = path
        self._bytes = io.BytesIO()
        self._writer = imageio.get_writer(self._bytes, format="GIF", duration=1000.0 / fps, loop=0)

    def append_data(self, frame: Any) -> None:
        self._writer.append_data(frame)

    def close(self) -> None:
        self._writer.close()
        self._path.write_bytes(self._bytes.getvalue())


def _set_size(world: Any) -> None:
    """Tells an environment that has drawn nothing yet how large its frames are to be, if it is of a known kind."""
    renderer: Any = getattr(world, "mujoco_renderer", None)
    if hasattr(renderer, "width") and hasattr(renderer, "height"):  # Gymnasium's MuJoCo environments
        buffer = world.model.vis.global_
        buffer.offwidth, buffer.offheight = max(buffer.offwidth, WIDTH), max(buffer.offheight, HEIGHT)
        renderer.width, renderer.height = WIDTH, HEIGHT
    elif hasattr(world, "_render_width") and hasattr(world, "_render_height"):  # PyBullet's
        world._render_width, world._render_height = WIDTH, HEIGHT


def _choose_opengl() -> None:
    """Set MUJOCO_GL to the first way of drawing that works here, found out in processes of their own.

    Raises:
      UserError: none does.
    """
    if os.environ.get("MUJOCO_GL"):
        return
    on_screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform != "linux"
    for backend in (*(["glfw"] if on_screen else []), "egl", "osmesa"):
        environment = {**os.environ, "MUJOCO_GL": backend}
        command = [sys.executable, "-c", _TRY_OPENGL]
        if subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0:
            os.environ["MUJOCO_GL"] = backend
            return
    raise UserError(f"MuJoCo found no OpenGL to draw with. {_OPENGL_ADVICE}")
