#!/usr/bin/env python3
"""The table and the chart of docs/PERFORMANCE.md from files of bench/results.

    bench/summary.py bench/results/DATE            prints the table (Markdown), writes docs/performance.svg

Reads the comparisons with Sockudo (`…-fanfare-sockudo.jsonl`).

Each file is what `fanfare bench compare --json` printed; the last line has medians and spreads of both servers.
"""
import json
import math
import pathlib
import sys
from html import escape

# file, key, words, unit, divisor, how it is judged, bar, aim
BARS = [
    ("fanout-one-in-flight", "server_cpu_us_per_delivery", "One publish in flight, 1,000 subscribers: CPU per delivery", "µs", 1, "ratio<=", 0.55, 0.4),
    ("fanout-saturated-1000", "deliveries_per_s", "Saturated, 1,000 subscribers", "k/s", 1e3, "ratio>=", 6, 9),
    ("fanout-saturated-10000", "deliveries_per_s", "Saturated, 10,000 subscribers", "k/s", 1e3, "ratio>=", 6, 9),
    ("fanout-1000-channels", "deliveries_per_s", "1,000 channels of 10", "k/s", 1e3, "ratio>=", 2.8, 3.5),
    ("fanout-paced", "server_cpu_us_per_delivery", "50/s to 1,000 subscribers, 512 B: CPU per delivery", "µs", 1, "ratio<=", 0.55, None),
    ("fanout-paced", "latency_p99_us", "the same: p99", "ms", 1e3, "ratio<=", 0.6, None),
    ("publish", "requests_per_s", "HTTP publish, 16 connections", "k/s", 1e3, "ratio>=", 4, None),
    ("publish-batch", "events_per_s", "HTTP batch of ten: events", "k/s", 1e3, "ratio>=", 4, None),
    ("idle", "subscribed_bytes_per_connection", "Memory of a subscribed connection, 10,000", "B", 1, "a<=", 2560, 1536),
    ("fanout-saturated-10000", "api_p50_us", "HTTP API while 10,000 subscribers are saturated: median", "ms", 1e3, "a<=", 8e3, None),
    ("presence", "join_s", "Presence: 1,000 join at once until each knows all", "s", 1, "a<=", 1.5, None),
    ("churn", "cycles_per_s", "Connect, subscribe, leave", "k/s", 1e3, "ratio>=", None, None),
    ("client-events", "deliveries_per_s", "Client events, 100 channels of 10", "k/s", 1e3, "ratio>=", 2.2, None),
    ("slow", "p99_beside_stalled_ratio", "20 of 200 readers stalled: p99 of the others against all reading", "×", 1, "a<=", 1.5, None),
]


def load(folder):
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.jsonl")):
        name = path.stem.split("-", 3)[-1].removesuffix("-fanfare-sockudo")
        if not path.stem.endswith("-fanfare-sockudo"):
            continue
        found[name] = json.loads(path.read_text().strip().splitlines()[-1])
    return found


def row_of(results, name, key):
    rows = results.get(name, {}).get("rows", [])
    return next((row for row in rows if row["key"] == key), None)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def judged(results):
    for name, key, words, unit, by, how, bar, aim in BARS:
        row = row_of(results, name, key)
        if not row:
            continue
        a, b = row["a"]["median"], row["b"]["median"]
        ratio = a / b if b else None
        value = ratio if how.startswith("ratio") else a
        met = bar is None or value is not None and (value <= bar if how.endswith("<=") else value >= bar)
        yield dict(words=words, unit=unit, a=a / by, b=b / by, spread=row["a"]["spread"], spread_b=row["b"]["spread"],
                   ratio=ratio, how=how, bar=bar and bar / (1 if how.startswith("ratio") else by), aim=aim, met=met)


def table(rows, names):
    out = [f"| scenario | {names[0]} | {names[1]} | {names[0]} ÷ {names[1]} | bar | |", "|---|---|---|---|---|---|"]
    for r in rows:
        sign = "≤" if r["how"].endswith("<=") else "≥"
        bar = "" if r["bar"] is None else f"{sign} {r['bar']:g} ×" if r["how"].startswith("ratio") else f"{sign} {r['bar']:,.4g} {r['unit']}"
        cell = lambda v, s: f"{number(v)} {r['unit']} (±{s * 50:.0f} %)"
        ratio = f"{r['ratio']:.2f}" if r["ratio"] is not None and r["ratio"] >= 0.1 else f"{r['ratio']:.3f}"
        out.append(f"| {r['words']} | {cell(r['a'], r['spread'])} | {cell(r['b'], r['spread_b'])} | {ratio} | {bar} | {'' if r['bar'] is None else 'met' if r['met'] else '**missed**'} |")
    return "\n".join(out)


def chart(rows, names):
    rows = [r for r in rows if r["ratio"]]
    height, left, width = 34, 400, 380
    text = []
    for i, r in enumerate(rows):
        y = 56 + i * height
        # How many times better: more of a rate, less of a cost.
        better = r["ratio"] if r["how"] == "ratio>=" else 1 / r["ratio"]
        longest = max((x["ratio"] if x["how"] == "ratio>=" else 1 / x["ratio"]) for x in rows)
        # Logarithms keep a hundredfold beside a twofold readable; a bar begins where both are equal.
        length = max(2, width * math.log(max(better, 1)) / math.log(longest))
        text.append(f'<text x="{left - 12}" y="{y + 15}" text-anchor="end" class="w">{escape(r["words"])}</text>')
        text.append(f'<rect x="{left}" y="{y + 2}" width="{length:.0f}" height="18" rx="3" class="bar"/>')
        text.append(f'<text x="{left + length + 8:.0f}" y="{y + 15}" class="n">{better:,.1f} ×</text>')
    total = 56 + len(rows) * height + 16
    title = f"{names[0]} against {names[1]}: how many times better (logarithmic scale)"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {total}" role="img" aria-label="{escape(title)}">
<style>svg{{background:#fff;font-family:system-ui,sans-serif}}.t{{font-size:15px;font-weight:600;fill:#1b1b2f}}.w{{font-size:12px;fill:#333}}.n{{font-size:12px;font-weight:600;fill:#1b1b2f}}.bar{{fill:#4f46e5}}</style>
<text x="24" y="30" class="t">{escape(title)}</text>
{chr(10).join(text)}
</svg>
"""


def main():
    folder = sys.argv[1]
    results = load(folder)
    names = next(iter(results.values())).get("names", ["A", "B"])
    names = [n.capitalize() for n in names]
    rows = list(judged(results))
    print(table(rows, names))
    root = pathlib.Path(__file__).resolve().parent.parent
    (root / "docs" / "performance.svg").write_text(chart(rows, names))


main()
