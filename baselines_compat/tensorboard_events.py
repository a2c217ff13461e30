"""TensorBoard event files, written and read with the `tensorboard` package alone: TensorFlow is not imported.

TensorBoard reads the event files of a folder in the order of their names and, at an event that says that a
session starts at step s, forgets what it had read from step s on. So a resumed run opens a second file that
begins with one.
"""

from __future__ import annotations

import math
import os
import re
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from baselines_compat import whole_rows
from baselines_compat.files import absolute, atomic_write

_HPARAMS_FILE = "events.out.tfevents.0000000000.hparams"


class EventFile:
    """One event file in `folder`, to which scalars are appended.

    `resume_step` None: event files of an earlier `EventFile` in the folder are deleted. An int: they stay,
    and what they hold after that step is declared void.
    """

    def __init__(self, folder: str | os.PathLike[str], resume_step: int | None = None):
        from tensorboard.compat.proto import event_pb2, summary_pb2

        self._event_pb2, self._summary_pb2 = event_pb2, summary_pb2
        folder = absolute(folder)
        folder.mkdir(parents=True, exist_ok=True)
        earlier = sorted(path for path in folder.iterdir() if _is_scalar_file(path))
        if resume_step is None:
            for path in earlier:
                path.unlink()
            earlier = []
        # Names sort by time, then by count: the order in which TensorBoard reads them.
        number = int(earlier[-1].name.rsplit(".", 1)[1]) + 1 if earlier else 0
        self._file = open(folder / f"events.out.tfevents.{int(time.time()):010d}.{number:04d}", "xb")  # noqa: SIM115
        self._append(event_pb2.Event(file_version="brain.Event:2"))
        if earlier and resume_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._append(event_pb2.Event(step=resume_step + 1, session_log=start))
        self._file.flush()

    def add_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """One event at `step` with a value for each tag, on the disk when this returns."""
        value = self._summary_pb2.Summary.Value
        values = [value(tag=tag, simple_value=scalar) for tag, scalar in scalars.items()]
        self._append(self._event_pb2.Event(step=step, summary=self._summary_pb2.Summary(value=values)))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _append(self, event) -> None:
        event.wall_time = time.time()
        self._file.write(_record(event.SerializeToString()))


def write_hparams(dir: str | os.PathLike[str], hparams: Mapping[str, object], metrics: Sequence[str] = ()) -> Path:
    """See `logger.write_hparams`; returns the file."""
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    now = time.time()
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=now)
    infos = []
    for name, setting in hparams.items():
        value, data_type = start.hparams[name], api_pb2.DATA_TYPE_STRING
        if isinstance(setting, bool):
            value.bool_value, data_type = setting, api_pb2.DATA_TYPE_BOOL
        elif isinstance(setting, (int, float)) and math.isfinite(setting):
            # TensorBoard's server fails on the whole table over a NaN or an infinity: those go in as text.
            value.number_value, data_type = float(setting), api_pb2.DATA_TYPE_FLOAT64
        else:
            value.string_value = str(setting)
        infos.append(api_pb2.HParamInfo(name=name, type=data_type))
    contents = {metadata.SESSION_START_INFO_TAG: plugin_data_pb2.HParamsPluginData(session_start_info=start)}
    if metrics:
        columns = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
        experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=columns, time_created_secs=now)
        contents[metadata.EXPERIMENT_TAG] = plugin_data_pb2.HParamsPluginData(experiment=experiment)

    path = absolute(dir) / _HPARAMS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        file.write(_record(event_pb2.Event(wall_time=now, file_version="brain.Event:2").SerializeToString()))
        for tag, content in contents.items():
            value = summary_pb2.Summary.Value(
                tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR
            )
            event = event_pb2.Event(wall_time=now, summary=summary_pb2.Summary(value=[value]))
            file.write(_record(event.SerializeToString()))
    return path


def read_scalars(path: str | os.PathLike[str]) -> dict[int, dict[str, float]]:
    """Scalars of an event file, or of all event files of a folder, as {step: {tag: value}} in order of the
    steps.

    Events that a later session declared void are left out. What follows a damaged record cannot be found, and is left out
    with a `whole_rows.DamagedFileWarning`; a torn end, of an event that is being written, is left out.
    """
    from tensorboard.compat.proto import event_pb2

    path = absolute(path)
    files = sorted(path.glob("*tfevents*")) if path.is_dir() else [path]
    steps: dict[int, dict[str, float]] = {}
    for file in files:
        for record in _records(file):
            try:
                event = event_pb2.Event.FromString(record)
            except Exception:  # protobuf's own DecodeError, which differs between its implementations
                whole_rows.warn(file, "an event left out")
                continue
            if event.session_log.status == event_pb2.SessionLog.START:
                steps = {step: scalars for step, scalars in steps.items() if step < event.step}
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    steps.setdefault(event.step, {})[value.tag] = value.simple_value
    return dict(sorted(steps.items()))


def _is_scalar_file(path: Path) -> bool:
    return re.fullmatch(r"events\.out\.tfevents\.\d{10}\.\d{4}", path.name) is not None


def _record(data: bytes) -> bytes:
    """TFRecord framing, little-endian: uint64 length, its masked CRC-32C, data, its masked CRC-32C."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def _records(path: Path) -> Iterator[bytes]:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    data, at = path.read_bytes(), 0
    while at + 12 <= len(data):
        length, check = struct.unpack_from("<QI", data, at)
        if check != masked_crc32c(data[at : at + 8]):
            whole_rows.warn(path, f"all after byte {at} left out")
            return
        if at + 12 + length + 4 > len(data):
            return
        record = data[at + 12 : at + 12 + length]
        if struct.unpack_from("<I", data, at + 12 + length) == (masked_crc32c(record),):
            yield record
        else:
            whole_rows.warn(path, "an event left out")
        at += 16 + length
