"""Every block of Python in README and the docs runs, those of a page one after another, as a reader would type them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import doc_pages
import pytest
from short_runs import TINY, train, uncompiled

#: What a page's text says of a budget, and what it is here.
SMALLER = (
    (re.compile(r"total_timesteps=[\d_]+"), "total_timesteps=64"),
    (re.compile(r"\bnsteps=\d+"), "nsteps=64"),
    (re.compile(r"\bnminibatches=\d+"), "nminibatches=2"),
    (re.compile(r"range\(100\)"), "range(3)"),
)
PAGES = [page for page in doc_pages.PAGES if any(block.language == "python" for block in doc_pages.blocks(page))]


def smaller(text: str) -> str:
    for pattern, replacement in SMALLER:
        text = pattern.sub(replacement, text)
    return text


@pytest.fixture
def small_defaults(monkeypatch):
    """Batches and populations of a few steps, where a page names no number."""
    from wng_tf.evolution import config as evolution
    from wng_tf.policy_gradient import config as gradients

    def with_defaults(resolve, own):
        def resolving(algorithm, about, given):
            return resolve(algorithm, about, {**own, **given})

        return resolving

    few = {"nsteps": TINY["nsteps"], "nminibatches": TINY["nminibatches"], "noptepochs": 1}
    monkeypatch.setattr(gradients, "resolve", with_defaults(gradients.resolve, few))
    monkeypatch.setattr(evolution, "resolve", with_defaults(evolution.resolve, {"population": 2, "horizon": 20}))
    monkeypatch.setattr("wng_tf.evolution.learn.RECIPE", _changed("wng_tf.evolution.learn", evolution.resolve))


def _changed(module: str, resolve):
    import dataclasses
    import importlib

    return dataclasses.replace(importlib.import_module(module).RECIPE, resolve=resolve)


def act_from_the_start_page(folder: Path) -> None:
    """What the page's commands leave for its blocks."""
    from wng_tf.export import export_run

    train("ppo on Hopper", folder / "runs/out/first", num_env=1, total_timesteps=64)
    export_run(folder / "runs/out/first", output=folder / "hopper_policy")


BEFORE = {"docs/start.md": act_from_the_start_page}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(doc_pages.ROOT).as_posix())
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, small_defaults, capsys):
    from baselines_compat import models
    from wng_tf import parts

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = page.relative_to(doc_pages.ROOT).as_posix()
    if name in BEFORE:
        BEFORE[name](tmp_path)
    before = set(sys.modules), dict(models.mapping), {flag: set(registry) for flag, registry in parts.BY_FLAG.items()}
    space: dict[str, object] = {"__name__": "__page__"}
    try:
        for block in doc_pages.blocks(page):
            if block.language != "python":
                continue
            if block.title:
                Path(block.title).write_text(block.text)
            with uncompiled():
                exec(compile(smaller(block.text), block.name, "exec"), space)
    finally:
        for flag, registry in parts.BY_FLAG.items():
            for one in set(registry) - before[2][flag]:
                registry.remove(one)
        for one in set(models.mapping) - before[1].keys():
            del models.mapping[one]
        for module in set(sys.modules) - before[0]:
            if getattr(sys.modules[module], "__file__", None) and str(tmp_path) in str(sys.modules[module].__file__):
                del sys.modules[module]


def test_there_are_blocks_to_run():
    names = {page.relative_to(doc_pages.ROOT).as_posix() for page in PAGES}
    assert {"README.md", "docs/start.md", "docs/how_to/own_loop.md", "docs/how_to/parts.md"} <= names
