"""Draws the dashboard's panels from the last minute of a Prometheus: draw.py HOST:PORT FILE.png, with matplotlib."""

import json
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

address, picture = sys.argv[1:]
END = time.time()
START = END - 60


def series(target):
    """Legend, times and values of each series of a query."""
    query = target["expr"].replace("$job", ".+").replace("$__rate_interval", "10s").replace("$__range", "1m")
    question = urllib.parse.urlencode({"query": query, "start": START, "end": END, "step": 1})
    with urllib.request.urlopen(f"http://{address}/api/v1/query_range?{question}") as answer:
        found = json.load(answer)["data"]["result"]
    for one in found:
        legend = re.sub(r"{{(\w+)}}", lambda name: one["metric"].get(name[1], ""), target["legendFormat"])
        yield legend, [float(time) - END for time, _ in one["values"]], [float(value) for _, value in one["values"]]


def draw(panel, axes):
    """One panel; a `stat` shows its last values."""
    found = [one for target in panel["targets"] for one in series(target)]
    axes.set_title(panel["title"], loc="left", fontsize=9, fontweight="bold")
    if panel["type"] == "stat":
        axes.axis("off")
        for line, (legend, _, values) in enumerate(found):
            axes.text(0, 0.8 - 0.2 * line, f"{legend}  {values[-1]:g}", fontsize=9)
        return
    for legend, times, values in found:
        axes.plot(times, values, label=legend[:40], linewidth=1)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=6)
    axes.tick_params(axis="x", direction="in", pad=-9)
    axes.set_ylabel(panel["fieldConfig"]["defaults"]["unit"], fontsize=6)
    axes.legend(fontsize=5, loc="center left")


panels = json.loads(pathlib.Path(__file__).with_name("tidemill.json").read_text())["panels"]
height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
figure = plt.figure(figsize=(15, height * 0.28))
grid = figure.add_gridspec(height, 24, hspace=0, wspace=0)
for panel in panels:
    place = panel["gridPos"]
    # A grid's line is left free above a panel, for its title, and one column beside it.
    lines = slice(place["y"] + (place["h"] > 1), place["y"] + place["h"])
    axes = figure.add_subplot(grid[lines, place["x"] : place["x"] + place["w"] - 1])
    if panel["type"] == "row":
        axes.axis("off")
        axes.text(0, 0, panel["title"], fontsize=12, fontweight="bold")
    else:
        draw(panel, axes)
figure.savefig(picture, dpi=80, bbox_inches="tight")
