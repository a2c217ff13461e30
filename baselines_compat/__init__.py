"""The OpenAI Baselines interfaces that people know by heart, written anew for TensorFlow 2 and Gymnasium.

`logger`, `monitor`, `schedules`, `plot_util`, `vec_env`, `distributions`, `models`, `policies` and `runner`
keep the names, arguments, files and column names of Baselines. Import the module that is wanted (`from
baselines_compat import logger`): this package itself imports nothing, so that it costs nothing.
"""
