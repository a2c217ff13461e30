"""Segments of several slots step by step, for a policy that acts on all of them at once. No TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines_compat.actor import ActionHead
from baselines_compat.running_mean_std import Moments
from baselines_compat.vec_env.normalizer import NormalizerSettings
from baselines_compat.vec_env.segment import SegmentArrays, SegmentInfo
from baselines_compat.vec_env.slot import EnvSlot
from baselines_compat.vec_env.slots import Slots


class Together:
    """The slots of one process, each within a segment.

    After `begin`, and after every `advance`, each slot's next normalized observation stands in its row of
    `arrays.observations`; `advance` takes the network's outputs for these.

    Args:
      slots: of this process.
      head: makes actions of outputs.
      free: its free parameters [num_free].
      arrays: of all environments; a slot writes to those of its index.
      snapshot, settings: of the normalizer, see `EnvSlot.segment`.
    """

    def __init__(
        self,
        slots: Slots,
        head: ActionHead,
        free: np.ndarray,
        arrays: SegmentArrays,
        snapshot: tuple[Moments, Moments],
        settings: NormalizerSettings,
    ):
        self._slots = slots
        self._head = head
        steps = arrays.rewards.shape[1]
        self._segments = [
            slot.segment(head.draw(free, slot.rng, steps), snapshot, settings, arrays.of(slot.index)) for slot in slots
        ]
        self._perturbations: list[np.ndarray] = []
        self._infos: list[SegmentInfo] = []

    def begin(self) -> None:
        """Up to the first observation of the segment."""
        self._perturbations = self._slots.map(
            lambda slot, segment: slot.watch_draws(lambda: next(segment)[1]), self._segments
        )

    def advance(self, outputs: np.ndarray) -> None:
        """A step of every slot, for the outputs [slots, num_outputs] at its observation."""
        replies = self._slots.map(self._step, self._segments, list(outputs), self._perturbations)
        self._perturbations = [reply for reply in replies if not isinstance(reply, SegmentInfo)]
        self._infos = [reply for reply in replies if isinstance(reply, SegmentInfo)]

    def _step(self, slot: EnvSlot, segment: Any, outputs: np.ndarray, perturbation: np.ndarray) -> Any:
        action = self._head.act(outputs, perturbation)

        def advance() -> Any:
            try:
                return segment.send(action)[1]
            except StopIteration as end:
                return end.value

        return slot.watch_draws(advance)

    def infos(self) -> list[SegmentInfo]:
        """What each slot's segment adds, after its last step."""
        return self._infos
