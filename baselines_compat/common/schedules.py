"""Where Baselines keeps schedules."""

from baselines_compat.schedules import ConstantSchedule, LinearSchedule, PiecewiseSchedule, Schedule, linear_interpolation

__all__ = ["ConstantSchedule", "LinearSchedule", "PiecewiseSchedule", "Schedule", "linear_interpolation"]
