"""The page in a real browser: Debian's Chromium, headless, driven by Playwright, with the network off.

    python -m tests.bench.page [--axe axe.min.js] [--shots FOLDER]

Needs `pip install playwright` and a Chromium (/usr/bin/chromium or $CHROMIUM); axe-core comes from npm (`npm pack axe-core`).
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from mnsweep.choice.constraints import Constraints
from mnsweep.choice.ranking import pick
from mnsweep.page.document import SweepOnPage, page
from mnsweep.result import Result
from mnsweep.space import Space
from mnsweep.sweep.cells_file import from_csv, to_csv
from mnsweep.sweep.counts import count_table
from mnsweep.sweep.table import with_frontier
from tests.bench.figure import Figures

DEPLOY = next(Path("results/reference/deploy").glob("*e7fd23df/cells.csv"))
HOSTILE = "</script><script>window.owned=1</script>\"'<img src=x onerror=window.owned=2>\nline\u2028\u202eright-to-left"
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
BOUNDS = {"params": 1e6, "mult_adds": 1e6, "onnx_bytes": 1e6, "peak_activation_bytes": 1e6}
SETTINGS = dict(zip(BOUNDS, ("max_params_m", "max_mult_adds_m", "max_size_mb", "max_memory_mb"), strict=True))


def on_page(results: list[Result], **texts: Any) -> SweepOnPage:
    """A sweep for the page with made-up texts."""
    about: dict[str, Any] = {
        "name": "bench",
        "machine": "made-up",
        "title": "bench on a made-up machine",
        "caption": "made up",
        "facts": (("cpu", "made up"),),
        "reproduce": "mnsweep grid",
        "sweep_file": "",
        "default_budget_ms": 1.0,
    }
    return SweepOnPage(results=tuple(results), csv=to_csv(results), **{**about, **texts})


def made_up(cells: int) -> list[Result]:
    """So many results with latencies and accuracies that follow from their counts, and noise."""
    rng = Random(0)
    space = Space(alpha="0.05:2.0:0.01", res="64:256:8", precision="fp32,int8", max_designs=100_000)
    asked = space.cells()[:cells]
    rows = []
    for r in count_table(asked, "slim-2018-08"):
        ms = r.mult_adds / 1e8 * rng.uniform(0.9, 1.1)
        rows.append(
            replace(
                r,
                latency_p50_ms=round(ms, 6),
                latency_ci_low_ms=round(ms * 0.98, 6),
                latency_ci_high_ms=round(ms * 1.03, 6),
                relative_ci_pct=1.0,
                samples=100,
                latency_source="measured",
                quality_metric="imagenet_top1",
                quality_pct=round(80 - 30 / (1 + r.mult_adds / 1e8) + rng.uniform(-1, 1), 4),
                quality_source="made up",
            )
        )
    return with_frontier(rows)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


def opened(browser: Any, path: Path, **settings: Any) -> tuple[Any, list[str]]:
    """A page from disk, and what its console complains of."""
    tab = browser.new_context(offline=True, **{"viewport": {"width": 1280, "height": 900}, **settings}).new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(path.as_uri())
    return tab, said


def check_picks(figures: Figures, browser: Any, path: Path, results: list[Result]) -> None:
    """The page's pick against ours, on random budgets and constraints, through the fields that a user fills in."""
    tab, said = opened(browser, path)
    rng, alike = Random(1), 0
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for _ in range(200):
        asked: dict[str, Any] = {}
        fields: dict[str, str] = {}
        of = rng.choice(results)
        if rng.random() < 0.8:
            asked["max_latency_ms"] = float(f"{(of.latency_ci_high_ms or 1) * rng.uniform(0.8, 1.3):.3g}")
            fields["latency"] = repr(asked["max_latency_ms"])
        for name, unit in BOUNDS.items():
            if rng.random() < 0.3:
                asked[SETTINGS[name]] = float(f"{getattr(rng.choice(results), name) / unit:.4g}")
                fields[name] = repr(asked[SETTINGS[name]])
        if rng.random() < 0.4:
            asked["min_top1"] = round(rng.uniform(40, 71), 1)
            fields["quality"] = repr(asked["min_top1"])
        if "max_latency_ms" in asked and rng.random() < 0.3:
            asked["margin_pct"] = float(rng.randrange(20))
            fields["margin"] = repr(asked["margin_pct"])
        words = {
            n: rng.choice(sorted({getattr(r, n) for r in results})) for n in ("precision", "runtime") if rng.random() < 0.3
        }
        ours = pick(results, Constraints(**asked, **words))
        tab.evaluate(
            """([fields, words]) => {
                document.querySelectorAll('[data-bound]').forEach(f => { f.value = fields[f.dataset.bound]
                    ?? ({margin: 0, width: 20}[f.dataset.bound] ?? ''); });
                document.querySelectorAll('[data-word]').forEach(f => { f.value = words[f.dataset.word] ?? ''; });
                document.querySelector('form.choose').dispatchEvent(new Event('input', {bubbles: true}));
            }""",
            [fields, words],
        )
        shown = tab.evaluate("[...document.querySelectorAll('[data-answer] b')].map(b => b.textContent)[0] ?? null")
        runner = tab.evaluate(
            r"(document.querySelector('[data-answer]').textContent.match(/Runner-up: (\S+?):/) ?? [])[1] ?? null"
        )
        wanted = (ours.choice and ours.choice.cell, ours.runner_up and ours.runner_up.cell)
        alike += (shown, runner) == wanted
        if (shown, runner) != wanted:
            print("           ", asked, words, (shown, runner), wanted)
    figures.at_least("picks and runners-up like the command line's, of 200", alike, 200, "")
    figures.at_most("complaints on the console", len(said), 0, "")


def check_use(figures: Figures, browser: Any, path: Path, axe: Path | None) -> None:
    """Sorting, filtering, keys, scripts off, print and accessibility."""
    tab, _ = opened(browser, path)
    tab.click("th[data-key=latency_p50_ms] button")
    column = (
        "[...document.querySelectorAll('[data-table] tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].textContent.trim())"
    )
    ms = tab.evaluate("JSON.parse(document.getElementById('data').textContent)[0]")
    order = tab.evaluate(column)
    times = [ms["latency_p50_ms"][ms["cell"].index(cell)] for cell in order]
    figures.at_least("sorted by latency", int(times == sorted(times)), 1, "")
    tab.fill("[data-filter]", "int8 a0.5")
    figures.at_least("filtered", int(all("int8" in c and "a0.5" in c for c in tab.evaluate(column))), 1, "")
    tab.fill("[data-filter]", "")
    tab.keyboard.press("Tab")
    tab.focus("svg[data-chart]")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    spoken = tab.evaluate("document.querySelector('[data-said]').textContent")
    figures.at_least("arrow keys name cells", int(" ms" in spoken), 1, "")
    tab.focus("[data-slider]")
    before = tab.evaluate("document.querySelector('[data-answer]').textContent")
    for _ in range(300):
        tab.keyboard.press("ArrowRight")
    after = tab.evaluate("document.querySelector('[data-answer]').textContent")
    figures.at_least("the slider answers to keys", int(after != before), 1, "")
    plain, _ = opened(browser, path, java_script_enabled=False)
    rows, marks = plain.locator("tbody tr").count(), plain.locator("svg circle[data-i]").count()
    figures.at_least("rows and marks without scripts", min(rows, marks), 100, "")
    figures.at_most("forms without scripts", int(plain.locator("form.choose").is_visible()), 0, "")
    tab.emulate_media(media="print")
    figures.at_least("the table in print", int(tab.locator("table").first.is_visible()), 1, "")
    if axe:
        for scheme in ("light", "dark"):
            checked, _ = opened(browser, path, color_scheme=scheme)
            checked.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            checked.evaluate(axe.read_text())
            found = checked.evaluate(
                "axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes.length, v.nodes[0].html]))"
            )
            for violation in found:
                print("           ", violation)
            serious = [v for v in found if v[0] in ("serious", "critical")]
            figures.at_most(f"serious findings of axe, {scheme}", len(serious), 0, "")


def check_hostile(figures: Figures, browser: Any, folder: Path) -> None:
    """Texts that try to be more than text."""
    results = [replace(r, quality_source=HOSTILE, precision="fp32") for r in made_up(40)]
    texts = {"name": HOSTILE, "machine": HOSTILE, "title": HOSTILE, "caption": HOSTILE, "facts": ((HOSTILE, HOSTILE),)}
    path = folder / "hostile.html"
    path.write_text(page([on_page(results, **texts, sweep_file=HOSTILE, reproduce=HOSTILE)], [], [], HOSTILE), encoding="utf-8")
    tab, said = opened(browser, path)
    owned = tab.evaluate("window.owned ?? 0")
    figures.at_most("scripts that ran out of texts", owned + len(said), 0, "")
    figures.at_least(
        "titles that stay text", int("<script>" in tab.evaluate("document.querySelector('h2').textContent")), 1, ""
    )


def check_size(figures: Figures, browser: Any, folder: Path) -> None:
    """Sizes of pages, and how long a large one takes."""
    for cells, limit_kb in ((16, 300), (5000, 3000)):
        results = made_up(cells)
        path = folder / f"{cells}.html"
        path.write_text(page([on_page(results)], [], [], "bench"), encoding="utf-8")
        figures.at_most(f"page of {cells} cells", path.stat().st_size / 1e3, limit_kb, "kB")
    paints, answers = [], []
    for _ in range(5):
        tab, _ = opened(browser, path)
        tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        paints.append(tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        answers += tab.evaluate(
            """() => [100, 300, 500, 700, 900].map(v => { const s = document.querySelector('[data-slider]');
                const t = performance.now(); s.value = v; s.dispatchEvent(new Event('input', {bubbles: true}));
                document.body.offsetHeight; return performance.now() - t; })"""
        )
        tab.context.close()
    figures.at_most("first paint of 5,000 cells", median(paints) / 1e3, 1.5, "s")
    figures.at_most("slider answers, of 5,000 cells", median(answers), 50, "ms")


def main() -> None:
    """Check all of it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--axe", type=Path)
    asked = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory() as kept, chromium() as browser:
        folder = Path(kept)
        results = from_csv(DEPLOY.read_text(), DEPLOY)
        path = folder / "deploy.html"
        path.write_text(page([on_page(results)], [], [], "bench"), encoding="utf-8")
        began = time.perf_counter()
        check_picks(figures, browser, path, results)
        print(f"            {time.perf_counter() - began:.0f} s for the picks, {json.dumps(path.stat().st_size)} bytes")
        check_use(figures, browser, path, asked.axe)
        check_hostile(figures, browser, folder)
        check_size(figures, browser, folder)
    figures.finish()


if __name__ == "__main__":
    main()
