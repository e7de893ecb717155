"""The queries of the dashboards as Prometheus gets them: variables replaced as Grafana does when everything is chosen."""

import json
import pathlib
import re
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent


def boards():
    """The committed dashboards, by file name without ending."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((HERE / "grafana").glob("*.json"))}


def targets(board):
    """(panel, target) of all panels."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel, target


def choices(board):
    """What each variable stands for when All is chosen; a text box is empty."""
    every = {v["name"]: ".*" if v.get("includeAll") else "" for v in board["templating"]["list"]}
    return {v["name"]: v.get("allValue") or every[v["name"]] for v in board["templating"]["list"] if v["type"] != "datasource"}


def replaced(text, variables, seconds, rate):
    """Built-in and own variables replaced; `seconds` is the range shown, `rate` the rate interval, both in seconds."""
    text = text.replace("$__rate_interval", f"{rate}s").replace("$__range", f"{seconds}s").replace("$__auto", f"{rate}s")
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], text)


class Prometheus:
    """The HTTP API of one server."""

    def __init__(self, url):
        self.url = url.rstrip("/")

    def __call__(self, path, **arguments):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            return {"error": error.read().decode(errors="replace")}

    def panel(self, target, text, start, end, step):
        """What a panel gets: a vector for an instant query, else a matrix; or a text under `error`."""
        if target.get("instant"):
            return self("query", query=text, time=end)
        return self("query_range", query=text, start=start, end=end, step=step)
