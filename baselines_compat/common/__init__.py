"""What Baselines keeps in `common`. The package itself imports neither TensorFlow nor Gymnasium's environments."""

from baselines_compat.common.math_util import (
    discount,
    discount_with_boundaries,
    explained_variance,
    explained_variance_2d,
    flatten_arrays,
    unflatten_vector,
)
from baselines_compat.common.misc_util import (
    EzPickle,
    RunningAvg,
    boolean_flag,
    get_wrapper_by_name,
    pretty_eta,
    set_global_seeds,
    zipsame,
)

__all__ = [
    "EzPickle",
    "RunningAvg",
    "boolean_flag",
    "discount",
    "discount_with_boundaries",
    "explained_variance",
    "explained_variance_2d",
    "flatten_arrays",
    "get_wrapper_by_name",
    "pretty_eta",
    "set_global_seeds",
    "unflatten_vector",
    "zipsame",
]
