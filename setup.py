"""Package metadata. requirements.txt holds the exact versions that the tests ran with (Python 3.11)."""

from pathlib import Path

from setuptools import find_packages, setup

TENSORFLOW = [
    "tensorflow>=2.20,<2.22",
    "tf-keras>=2.20,<2.22",  # TensorFlow Probability runs on it, beside Keras 3
    "tensorflow-probability>=0.25,<0.26",
    "tensorboard>=2.20,<2.22",
]

TUNE = "optuna>=4.5,<5"

#: Where which of PyBullet's two distributions has wheels. Both are one engine and import as `pybullet`; where neither has
#: a wheel, the package comes without, and says so when one of its tasks is asked for.
_LINUX = 'sys_platform == "linux" and platform_machine == "x86_64"'
_MAC = 'sys_platform == "darwin" and platform_machine == "arm64"'
_WINDOWS = 'sys_platform == "win32" and platform_machine == "AMD64"'
PYBULLET = [
    f'pybullet>=3.2.5,<4; python_version < "3.12" and {_LINUX}',
    # It asks for `pybullet` by that name. The tasks that have short names do without it.
    f'pybullet_envs_gymnasium>=0.6,<0.7; python_version < "3.12" and {_LINUX}',
    f'pybullet-arm64>=3.2.8,<4; python_version < "3.14" and ({_MAC} or {_WINDOWS} or python_version >= "3.12" and {_LINUX})',
]

setup(
    name="wng_tf",
    version="0.1.0",
    description="Wasserstein natural gradients for reinforcement learning, in TensorFlow 2 and Baselines conventions",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    # The flagfiles are in `runs`, where people look for them in a checkout; in an installed package they are data.
    packages=[*find_packages(include=["wng_tf", "wng_tf.*", "baselines_compat", "baselines_compat.*"]), "wng_tf.flagfiles"],
    package_dir={"wng_tf.flagfiles": "runs"},
    package_data={"wng_tf": ["py.typed"], "wng_tf.flagfiles": ["*.flags", "tuned/*.flags"], "baselines_compat": ["py.typed"]},
    install_requires=[
        *TENSORFLOW,
        "keras>=3.10,<4",
        "gymnasium[mujoco]>=1.1,<2",
        "mujoco>=3.3,<5",
        *PYBULLET,
        "numpy>=2.0,<3",
        "scipy>=1.13,<2",
        "absl-py>=2.1,<3",
        "tqdm>=4.66,<5",
        "matplotlib>=3.9,<4",
    ],
    extras_require={
        "test": [
            TUNE,
            "pytest>=8,<10",
            "pytest-cov>=5,<8",
            "pytest-random-order>=1.1,<2",
            "pytest-xdist>=3.6,<4",
            "hypothesis>=6.100,<7",
            "POT>=0.9.5,<1",
            "ruff>=0.9,<1",
            "mypy>=1.15,<3",
        ],
        "video": ["imageio[ffmpeg]>=2.34,<3"],
        "tune": [TUNE],
        "ray": ["ray>=2.40,<3"],
        "docs": [
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.6,<10",
            "mkdocstrings[python]>=1.0,<2",
            "latex2mathml>=3.77,<4",  # formulas without a script
        ],
        "peers": ["stable-baselines3>=2.6,<3", "sb3-contrib>=2.6,<3"],
    },
    entry_points={
        "console_scripts": [
            "wng-run=wng_tf.run:app",
            "wng-evaluate=wng_tf.evaluate:app",
            "wng-export=wng_tf.export:app",
            "wng-sweep=wng_tf.sweep:app",
            "wng-plot=wng_tf.plot:app",
            "wng-tune=wng_tf.tune:app",
        ]
    },
)
