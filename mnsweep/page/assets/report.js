"use strict";
(() => {
  const known = JSON.parse(document.getElementById("data").textContent);
  document.documentElement.classList.add("scripted");
  const ms = (v) => (v == null ? "–" : v < 100 ? three(v) : v.toFixed(0));
  const three = (v) => { const t = v.toPrecision(3); return t.includes("e") ? String(Number(t)) : t; };
  const word = (d, name, i) => d.words[name][d[name][i]];
  // What `mnsweep pick` does, by the same rules (choice/constraints.py, choice/ranking.py).
  const BOUNDS = { params: 1e6, mult_adds: 1e6, onnx_bytes: 1e6, peak_activation_bytes: 1e6 };
  function pick(d, c) {
    const lacks = (i) => d.latency_p50_ms[i] == null || d.latency_ci_low_ms[i] == null || d.latency_ci_high_ms[i] == null || d.quality_pct[i] == null;
    const guarded = (i) => { const v = c.percentile ? d[`latency_p${c.percentile}_ms`][i] : d.latency_ci_high_ms[i]; return v == null ? null : v * (1 + c.margin / 100); };
    const meets = (i) => !lacks(i) && guarded(i) != null &&
      (c.latency == null || guarded(i) <= c.latency) &&
      Object.entries(BOUNDS).every(([name, unit]) => c[name] == null || d[name][i] / unit <= c[name]) &&
      (c.quality == null || d.quality_pct[i] >= c.quality) &&
      !(d.relative_ci_pct[i] != null && d.relative_ci_pct[i] > c.width) &&
      Object.entries(c.words).every(([name, w]) => word(d, name, i) === w);
    const rows = [...d.cell.keys()].filter(meets);
    const metrics = new Set(rows.map((i) => word(d, "quality_metric", i)));
    const accurate = c.latency != null || Object.keys(BOUNDS).some((name) => c[name] != null);
    const by = accurate ? [(i) => -d.quality_pct[i], (i) => d.latency_p50_ms[i]] : [(i) => d.latency_p50_ms[i], (i) => -d.quality_pct[i]];
    by.push((i) => d.params[i], (i) => d.cell[i]);
    const before = (a, b) => { for (const f of by) { if (f(a) < f(b)) return true; if (f(a) > f(b)) return false; } return false; };
    let best, second;
    for (const i of rows) { if (best == null || before(i, best)) [best, second] = [i, best]; else if (second == null || before(i, second)) second = i; }
    return { best, second, number: rows.length, several: metrics.size > 1 };
  }
  
  document.querySelectorAll("section.sweep").forEach((section, k) => {
    const d = known[k], all = (q) => [...section.querySelectorAll(q)], one = (q) => section.querySelector(q);
    const circles = new Map(); // row → its marks
    all("circle[data-i]").forEach((c) => { const i = +c.dataset.i; circles.set(i, [...(circles.get(i) || []), c]); });
    const bars = new Map();
    all("path[data-of]").forEach((p) => { const i = +p.dataset.of; bars.set(i, [...(bars.get(i) || []), p]); });
    const trs = [...one("tbody").rows], rowOf = [...trs];
    const about = (i) => `${d.cell[i]}\n${ms(d.latency_p50_ms[i])} ms` +
      (d.latency_ci_low_ms[i] == null ? "" : ` (${ms(d.latency_ci_low_ms[i])} to ${ms(d.latency_ci_high_ms[i])})`) +
      (d.relative_ci_pct[i] == null ? "" : `, ± ${d.relative_ci_pct[i].toFixed(1)} % against others`) +
      (d.predicted[i] ? ", predicted" : "") +
      (d.quality_pct[i] == null ? "" : `\n${d.quality_pct[i].toFixed(1)} %, ${word(d, "quality_source", i)}`) +
      `\n${(d.params[i] / 1e6).toFixed(2)} M params, ${(d.mult_adds[i] / 1e6).toFixed(1)} M mult-adds`;
    const sentence = (i) => about(i).replace("\n", ": ").replaceAll("\n", "; ");

    // Hover and keys.
    const hover = one("[data-hover]"), said = one("[data-said]");
    const order = [...circles.keys()].sort((a, b) => d.latency_p50_ms[a] - d.latency_p50_ms[b]);
    const mark = (i, on) => (circles.get(i) || []).forEach((c) => c.classList.toggle("here", on));
    const show = (i, x, y) => { hover.textContent = about(i); hover.hidden = false; hover.style.left = `${Math.min(x + 12, innerWidth - hover.offsetWidth - 8)}px`; hover.style.top = `${Math.max(8, y - hover.offsetHeight - 12)}px`; };
    all("svg[data-chart]").forEach((svg) => {
      let at = null;
      const leave = () => { hover.hidden = true; if (at != null) mark(at, false); };
      svg.addEventListener("pointermove", (e) => { const i = e.target.dataset?.i; leave(); if (i != null) { at = +i; mark(at, true); show(at, e.clientX, e.clientY); } });
      svg.addEventListener("pointerleave", leave);
      svg.addEventListener("blur", leave);
      svg.addEventListener("keydown", (e) => {
        const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -1e9, End: 1e9 }[e.key];
        if (step == null) return;
        e.preventDefault();
        const seen = order.filter((i) => !circles.get(i)[0].classList.contains("off"));
        if (!seen.length) return;
        const now = at == null ? -1 : seen.indexOf(at);
        leave();
        at = seen[Math.max(0, Math.min(seen.length - 1, now + step))];
        mark(at, true);
        const box = [...svg.querySelectorAll(`circle[data-i="${at}"]`)][0]?.getBoundingClientRect();
        if (box) show(at, box.x, box.y);
        said.textContent = sentence(at);
      });
    });

    // Legend and filter.
    const filter = one("[data-filter]"), count = one("[data-count]"), kinds = all("[data-kind]");
    function shown() {
      const off = new Set(kinds.filter((b) => !b.checked).map((b) => +b.dataset.kind));
      const words = filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      let number = 0;
      trs.forEach((tr) => {
        const i = tr.i, hidden = off.has(d.kind[i]);
        [...(circles.get(i) || []), ...(bars.get(i) || [])].forEach((m) => m.classList.toggle("off", hidden));
        const text = words.length ? tr.textContent.toLowerCase() : "";
        const gone = hidden || !words.every((w) => text.includes(w));
        if (tr.hidden !== gone) tr.hidden = gone;
        number += !gone;
      });
      count.textContent = `${number.toLocaleString("en")} of ${trs.length.toLocaleString("en")} cells`;
    }
    trs.forEach((tr, i) => { tr.i = i; });
    kinds.forEach((b) => b.addEventListener("change", shown));
    filter.addEventListener("input", shown);
    shown();

    // Sorting.
    all("[data-table] thead th").forEach((th) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...th.childNodes);
      th.append(button);
      button.addEventListener("click", () => {
        const down = th.getAttribute("aria-sort") === "ascending", values = d[th.dataset.key], words = d.words[th.dataset.key];
        all("[data-table] thead th").forEach((other) => other.removeAttribute("aria-sort"));
        th.setAttribute("aria-sort", down ? "descending" : "ascending");
        const of = (tr) => (words ? words[values[tr.i]] : values[tr.i]);
        trs.sort((a, b) => {
          const x = of(a), y = of(b);
          if (x == null || y == null) return (x == null) - (y == null) || a.i - b.i; // unknown values come last
          return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1) || a.i - b.i;
        });
        one("tbody").append(...trs);
      });
    });

    // The choice.
    const form = one("form.choose");
    if (!form) return;
    const slider = one("[data-slider]"), budget = one("[data-bound=latency]"), answer = one("[data-answer]");
    const highs = d.latency_ci_high_ms.filter((v) => v != null);
    const low = Math.min(...highs) / 1.2, high = Math.max(...highs) * 1.2;
    const at = (v) => Math.round((1000 * Math.log(v / low)) / Math.log(high / low));
    const value = (s) => Number((low * (high / low) ** (s / 1000)).toPrecision(3));
    let chosen = [];
    function asked() {
      const c = { margin: 0, width: 20, words: {} };
      all("[data-bound]").forEach((f) => { if (f.value !== "") c[f.dataset.bound] = +f.value; });
      all("[data-word]").forEach((f) => { if (f.value) c.words[f.dataset.word] = f.value; });
      return c;
    }
    function choose() {
      const found = pick(d, asked()), { best, second } = found;
      chosen.forEach((i) => { (circles.get(i) || []).forEach((m) => m.classList.remove("choice", "second")); rowOf[i].classList.remove("chosen"); });
      chosen = found.several ? [] : [best, second].filter((i) => i != null);
      if (found.several) { answer.textContent = "The cells that meet this have accuracies of several kinds: choose one task."; return; }
      [...chosen.entries()].reverse().forEach(([n, i]) => (circles.get(i) || []).forEach((m) => { m.classList.add(n ? "second" : "choice"); m.parentNode.append(m); }));
      answer.textContent = "";
      if (best == null) { answer.textContent = "No cell meets these constraints."; return; }
      rowOf[best].classList.add("chosen");
      const b = document.createElement("b");
      b.textContent = d.cell[best];
      answer.append("Choice: ", b, sentence(best).slice(d.cell[best].length), ".");
      if (second != null) answer.append(document.createElement("br"), `Runner-up: ${sentence(second)}. ${found.number} cells meet the constraints.`);
    }
    slider.addEventListener("input", () => { budget.value = value(+slider.value); slider.setAttribute("aria-valuetext", `${budget.value} ms`); choose(); });
    form.addEventListener("input", (e) => { if (e.target === slider) return; if (budget.value > 0) slider.value = at(+budget.value); choose(); });
    form.addEventListener("submit", (e) => e.preventDefault());
    if (d.budget_ms != null) { budget.value = d.budget_ms; slider.value = at(d.budget_ms); slider.setAttribute("aria-valuetext", `${d.budget_ms} ms`); }
    choose();
  });
})();
