"""Lints and renders the chart by Helm's own code (a binding to its SDK), once for each set of values on standard input.

Standard input: a JSON list of {"values": …}. Standard output: {"lint": …, "renders": [{"documents": […]} or {"error": …}]}.
It judges nothing: that is for the stories.
"""

import json
import sys

import helm_python as helm
import yaml


def documents(rendered):
    """The objects of all rendered files; comments and empty files are none."""
    found = []
    for name, text in sorted(rendered.items()):
        if name.endswith((".yaml", ".yml")):
            found += [one for one in yaml.safe_load_all(text) if one is not None]
    return found


def main(path):
    cases = json.load(sys.stdin)
    lint = helm.lint(path)
    renders = []
    with helm.Chart.load(path) as chart:
        for case in cases:
            try:
                chart.validate_schema(case["values"])
                rendered = chart.render(case["values"], name="live", namespace="sockets")
                renders.append({"documents": documents(rendered)})
            except helm.HelmError as error:
                renders.append({"error": str(error)})
    json.dump({"lint": lint, "renders": renders}, sys.stdout, default=str)


main(sys.argv[1])
