"""The pages beside their code: links lead somewhere, tables are those of the code, nothing is left out."""

from __future__ import annotations

import csv
import re
import struct

import doc_pages
import pytest

from wng_tf import algorithms, families, parts
from wng_tf.training import columns

ROOT = doc_pages.ROOT
DOCS = ROOT / "docs"
PAGES = [*doc_pages.PAGES, ROOT / "CHANGELOG.md"]
repository, generated, formulas, curves = (doc_pages.hook(name) for name in ("repository", "generated", "formulas", "curves"))
ROWS = {**algorithms.POLICY_GRADIENTS, **algorithms.EVOLUTION_STRATEGIES}


def named(page) -> str:
    return page.relative_to(ROOT).as_posix()


def slugs(text: str) -> set[str]:
    """Anchors of a page's headings, as the site and forges make them."""
    found: set[str] = set()
    fence = False
    for line in text.splitlines():
        fence ^= line.lstrip().startswith("```")
        heading = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if heading and not fence:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            found.add(re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_what_they_say(page):
    for match in repository.links(page.read_text()):
        place = repository.resolved(match["target"], named(page))
        if place is None:
            fragment = match["target"].removeprefix("#")
            if match["target"].startswith("#"):
                assert fragment in slugs(page.read_text()), match["target"]
            continue
        path = ROOT / place[0]
        if not path.exists() and named(path).startswith("docs/images/curves/"):
            assert path.stem in ROWS  # drawn when the site is built
            continue
        assert path.exists(), f"{match['target']} does not exist"
        if place[1] and path.suffix == ".py":
            assert repository.line(place[0], place[1]) > 0
        elif place[1]:
            assert place[1] in slugs(path.read_text()), f"{match['target']} has no such heading"


def test_a_line_is_found_by_what_is_there(tmp_path, monkeypatch):
    (tmp_path / "one.py").write_text(
        "A = 1\n\n\nclass B:\n    x: int = 2\n\n    def c(self):\n        y = 3\n        return y\n"
    )
    monkeypatch.setattr(repository, "ROOT", tmp_path)
    lines = {"A": 1, "B": 4, "B.x": 5, "B.c": 7, "B.c~y%20=": 8, "B.c~return": 9, "~class": 4}
    assert {fragment: repository.line("one.py", fragment) for fragment in lines} == lines
    for wrong in ("C", "B.d", "A.c", "B.c~nothing", "A~return"):
        with pytest.raises(ValueError):
            repository.line("one.py", wrong)


def test_links_become_those_of_the_site():
    page = (
        "[a](../wng_tf/run.py#main) `[b](../wng_tf/run.py)` [c](start.md) [d](https://x.org)\n"
        "```\n[e](../README.md)\n```\n[f](../runs/results/figure1)"
    )
    line = repository.line("wng_tf/run.py", "main")
    assert repository.with_site_links(page, "docs/x.md", "x.md") == page.replace(
        "../wng_tf/run.py#main", f"source/wng_tf/run.py.md#__codelineno-0-{line}"
    ).replace("../runs/results/figure1", "runs/results/figure1/README.md")


def test_a_link_to_a_line_with_a_call_in_it_ends_behind_the_call():
    line = repository.line("wng_tf/run.py", "main~check_new(log_path)")
    page = "it ([a](../wng_tf/run.py#main~check_new(log_path)))."
    there = f"it ([a](source/wng_tf/run.py.md#__codelineno-0-{line}))."
    assert repository.with_site_links(page, "docs/x.md", "x.md") == there


def test_a_file_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "x.md").write_text("[a](nothing.py)")
    monkeypatch.setattr(repository, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="nothing.py"):
        repository.reachable([tmp_path / "x.md"])


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    found = re.findall(r"(?:: |- )(\S+\.md)$", nav, re.MULTILINE)
    assert {named(page).removeprefix("docs/") for page in DOCS.rglob("*.md")} == {
        name for name in found if (DOCS / name).exists()
    }
    assert all((DOCS / name).exists() or (ROOT / name).exists() for name in found)


@pytest.mark.parametrize("page", [page for page in DOCS.rglob("*.md")], ids=named)
def test_marks_are_understood(page):
    text = page.read_text()
    # A command's help is a process of its own.
    found = generated.filled(re.sub(r"<!-- generate: help [\w.]+ -->", "", text), named(page))
    assert "<!-- generate" not in found
    for module in re.findall(r"<!-- generate: help ([\w.]+) -->", text):
        assert ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file()
    for module in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE):
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), module


def test_the_architecture_has_every_room():
    text = (DOCS / "architecture.md").read_text()
    rooms = [path.name for path in (ROOT / "wng_tf").iterdir() if (path / "__init__.py").exists()]
    assert rooms and all(f"`wng_tf/{room}`" in text for room in rooms)
    picture = text[text.index("<svg") : text.index("</svg>")]
    assert all(room in picture for room in rooms)


def test_marks_that_mean_nothing_are_errors():
    for wrong in ("nothing here", "section README.md No such heading"):
        with pytest.raises(ValueError):
            generated.filled(f"<!-- generate: {wrong} -->", "docs/x.md")


def test_the_readme_has_the_tables_of_the_code():
    text = re.sub(r"\[(`\w+`)\]\([^)]*\)", r"\1", (ROOT / "README.md").read_text())
    for family in families.FAMILIES:
        for row in family.table.values():
            assert "| " + " | ".join([f"`{row.name}`", *(f"`{getattr(row, part)}`" for part in family.parts)]) + " |" in text


@pytest.mark.parametrize("name", ROWS)
def test_every_algorithm_has_a_whole_page(name):
    text = (DOCS / "algorithms" / f"{name}.md").read_text()
    for section in (
        "Run it",
        "Measured",
        "Implementation details",
        "Departures from the paper and the released code",
        "Settings",
    ):
        assert f"## {section}\n" in text
    assert f"<!-- generate: row {name} -->" in text and f"<!-- generate: flags {name} -->" in text
    assert "$$" in text and f"--alg={name} " in text and f"images/curves/{name}.png" in text
    details = text.partition("## Implementation details")[2].partition("## ")[0].strip().splitlines()
    assert details and all(".py#" in detail or "share" in detail for detail in details)


def test_flag_tables_have_what_has_an_effect():
    def flags(name):
        return set(re.findall(r"^\| `--(\w+)` \|", generated.flag_table(name), re.MULTILINE))

    assert {"nsteps", "lr", "cliprange"} <= flags("ppo") and not flags("ppo") & {"num_basis", "trust_radius", "kl_target"}
    assert {"trust_radius", "cg_iters"} <= flags("wtrpo") and "max_grad_norm" not in flags("wtrpo")
    assert {"delta", "num_basis"} <= flags("wnes") and not flags("es") & {"delta", "num_basis", "repulsion_coef"}
    assert "| `--trust_radius` | `0.03` |" in generated.flag_table("wtrpo")


def test_registries_are_described():
    for registry in parts.BY_FLAG.values():
        for row in generated.registry_table(registry.flag).splitlines()[2:]:
            if registry.flag not in ("embedding", "surrogate"):
                assert re.fullmatch(r"\| `\w+` \| .+ \|", row), row


def test_every_algorithm_has_a_curve():
    found = dict(curves.drawn())
    assert set(found) == set(ROWS)
    for content in found.values():
        assert content.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", content[16:24])
        assert width > 600 and height > 300


def test_every_column_of_the_log_is_explained(trained):
    explained = set(re.findall(r"`([\w/]+)`", (DOCS / "how_to" / "columns.md").read_text()))
    for run in ("ppo on CartPole", "bg_wnpg on pendulum", "wnes on Point"):
        with open(trained(run) / "progress.csv", newline="") as file:
            logged = set(next(csv.reader(file)))
        assert logged <= explained, run
        assert logged <= (columns.EVOLUTION if "Point" in run else columns.POLICY_GRADIENT), run


def test_the_columns_of_other_parts_are_explained():
    from wng_tf.policy_gradient.steps.trust_region import STEP_NAMES

    explained = set(re.findall(r"`([\w/]+)`", (DOCS / "how_to" / "columns.md").read_text()))
    assert {f"wng/{name}" for name in STEP_NAMES if name != "grad_norm"} <= explained
    assert {f"wng/{name}" for name in STEP_NAMES if name != "grad_norm"} <= columns.POLICY_GRADIENT
    assert explained >= columns.POLICY_GRADIENT | columns.EVOLUTION
    assert {"loss/kl", "loss/kl_coef", "wng/radius_factor", "es/distance_mean"} <= explained


def test_formulas_are_understood():
    pytest.importorskip("latex2mathml")
    count = 0
    for page in DOCS.rglob("*.md"):
        text = repository._without_code(page.read_text())
        for block, inline in re.findall(r"\$\$(.+?)\$\$|(?<![\\$])\$([^$\n]+)\$", text, re.DOTALL):
            found = formulas.mathml(block or inline, block=bool(block))
            assert found.startswith("<math ") and found.endswith("</math>")
            count += 1
    assert count > 100


@pytest.mark.parametrize("wrong", [r"\nosuchcommand{x}", r"\begin{aligned} a &= b \\ c &= d \end{aligned}"])
def test_formulas_that_are_not_understood_are_errors(wrong):
    pytest.importorskip("latex2mathml")
    with pytest.raises(ValueError):
        formulas.mathml(wrong)


def test_the_hooks_name_no_other_host():
    """The site is read where there is no network: nothing of it is loaded from elsewhere."""
    config = (ROOT / "mkdocs.yml").read_text()
    assert "://" not in config + (DOCS / "assets" / "site.css").read_text() and "  font: false\n" in config
