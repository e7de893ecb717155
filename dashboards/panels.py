"""What a panel and a dashboard are, in Grafana's classic JSON model (schema 39: Grafana 10.4 and newer).

Queries use short forms, expanded here:  {@lp} the filters instance, listener, protocol;  {@l} instance, listener;
{@p} instance, protocol;  {@i} instance;  [@] the range that fits the scrape interval.
"""

import re

GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"
FILTERS = {
    "@lp": 'instance=~"$instance", listener=~"$listener", protocol=~"$protocol"',
    "@l": 'instance=~"$instance", listener=~"$listener"',
    "@p": 'instance=~"$instance", protocol=~"$protocol"',
    "@i": 'instance=~"$instance"',
}
PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
LOKI = {"type": "loki", "uid": "${logs}"}
# One colour for one meaning on all dashboards: by the last word of the legend, so that `imap failed` is as red as `failed`.
COLOURS = {
    "accepted|complete|ok|success|2xx|2..": "green",
    "partial|3xx|3..|preauth": "blue",
    "rejected_temporary|temporary|4xx|4..|no|needs_tls|cancelled|incomplete|abandoned": "yellow",
    "rejected_permanent|failed|5xx|5..|bad|error|err|refused|handshake_failed|bypassed": "red",
    "connection_lost|client_gone|reset|server_gone|timed_out|timeout|server_closed|refused_at_connect": "orange",
    "encrypted|implicit": "purple",
    "starttls": "blue",
    # Refusals that one colour would hide behind each other.
    "421": "dark-orange",
    "450": "light-yellow",
    "451": "dark-yellow",
    "452": "semi-dark-purple",
}


def expand(query):
    query = re.sub(r"@(?:lp|l|p|i)\b", lambda found: FILTERS[found.group()], query)
    return re.sub(r"\s+", " ", query.replace("[@]", "[$__rate_interval]")).strip()


def query(text, legend=None, **more):
    """One query of a panel."""
    return {"text": text, "legend": legend, **more}


def quantiles(family, filters, by="", labels="", shares=(0.5, 0.95, 0.99)):
    """Quantiles of a histogram; `by` keeps a label beside them."""
    within = f"le, {by}" if by else "le"
    return [
        query(
            f"histogram_quantile({share}, sum by ({within}) (rate({family}_bucket{{{filters}}}[@])))",
            f"{labels}p{share * 100:g}" if labels else f"p{share * 100:g}",
        )
        for share in shares
    ]


def steps(*pairs):
    """Thresholds: a base colour, then (value, colour) upwards."""
    base, rest = pairs[0], pairs[1:]
    return {
        "mode": "absolute",
        "steps": [{"color": base, "value": None}] + [{"color": colour, "value": value} for value, colour in rest],
    }


class Panel:
    """A panel before it has a place. `about` says what it shows and what to do when it looks bad."""

    def __init__(self, kind, title, queries, about, unit, width, height, thresholds, options, defaults, overrides=(),
                 transformations=(), source=PROMETHEUS, links=()):
        self.height, self.width = height, width
        self.json = {
            "id": 0,
            "type": kind,
            "title": title,
            "description": about,
            "datasource": source,
            "gridPos": {},
            "targets": [target(letter, each, source) for letter, each in zip("ABCDEFGHIJKLMNOP", listed(queries))],
            "fieldConfig": {
                "defaults": {"unit": unit, "thresholds": thresholds or steps(GREEN), "mappings": [], **defaults},
                "overrides": list(overrides),
            },
            "options": options,
            "pluginVersion": "10.4.0",
        }
        if transformations:
            self.json["transformations"] = list(transformations)
        if links:
            self.json["fieldConfig"]["defaults"]["links"] = list(links)


def listed(queries):
    return [each if isinstance(each, dict) else query(each) for each in (queries if isinstance(queries, list) else [queries])]


def target(letter, each, source):
    made = {
        "refId": letter,
        "datasource": source,
        "expr": expand(each["text"]),
        "legendFormat": each["legend"] if each["legend"] is not None else "__auto",
    }
    if source is LOKI:
        made["queryType"] = "instant" if each.get("instant") else "range"
        if each.get("lines"):
            made["maxLines"] = each["lines"]
    else:
        made["editorMode"] = "code"
        made["instant"], made["range"] = bool(each.get("instant")), not each.get("instant")
        if each.get("format"):
            made["format"] = each["format"]
    return made


def instant(queries, form=None):
    return [{**each, "instant": True, **({"format": form} if form else {})} for each in listed(queries)]


def stat(title, queries, about, unit="short", width=4, height=4, thresholds=None, mappings=(), names=False, decimals=None,
         graph=False, source=PROMETHEUS, none=None):
    """A number that is true now; `none` is shown where there is no series."""
    defaults = {"color": {"mode": "thresholds"}, "mappings": list(mappings)}
    if none is not None:
        defaults["noValue"] = none
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "orientation": "auto",
        "textMode": "name" if names else "auto",
        "wideLayout": True,
        "colorMode": "none" if names else "value",
        "graphMode": "area" if graph else "none",
        "justifyMode": "auto",
    }
    chosen = listed(queries) if graph else instant(queries)
    return Panel("stat", title, chosen, about, unit, width, height, thresholds, options, defaults, source=source)


def graph(title, queries, about, unit="short", width=12, height=8, thresholds=None, stack=False, bars=False, least=0,
          most=None, log=False, mirror=None, limit=None, lines=True, source=PROMETHEUS, links=(), dots=False):
    """Values over time. `limit` draws the thresholds; `mirror` is a legend regex drawn downwards."""
    custom = {
        "drawStyle": "bars" if bars else "line",
        "lineWidth": 1,
        "fillOpacity": 70 if bars else 25 if stack else 0 if log else 8,
        "gradientMode": "none",
        "showPoints": "always" if dots else "auto",
        "pointSize": 4,
        "spanNulls": False,
        "lineInterpolation": "linear",
        "axisPlacement": "auto",
        "axisLabel": "",
        "axisBorderShow": False,
        "barAlignment": 0,
        "barWidthFactor": 0.8,
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if limit else "off"},
    }
    # Nothing but zeros is drawn on a scale of its own, not up to 100.
    if unit in ("cps", "eps", "mps", "ops", "Bps", "s"):
        custom["axisSoftMax"] = 0.01
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom}
    if least is not None and not log and not mirror:
        defaults["min"] = least
    if most is not None:
        defaults["max"] = most
    overrides = [by_regex(f"/(^|[ ,(])({names})\\)?$/", {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}})
                 for names, colour in COLOURS.items()]
    if mirror:
        overrides.append(by_regex(mirror, {"id": "custom.transform", "value": "negative-Y"}))
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, queries, about, unit, width, height, thresholds, options, defaults, overrides,
                 source=source, links=links)


def by_regex(pattern, *properties):
    return {"matcher": {"id": "byRegexp", "options": pattern}, "properties": list(properties)}


def by_name(name, *properties):
    return {"matcher": {"id": "byName", "options": name}, "properties": list(properties)}


def heatmap(title, family, filters, about, unit="s", width=12, height=8):
    """A histogram over time: a column an interval, a row a bucket."""
    text = query(f"sum by (le) (increase({family}_bucket{{{filters}}}[@]))", "{{le}}", format="heatmap")
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "short", "decimals": 0},
        "color": {"mode": "scheme", "scheme": "Oranges", "scale": "exponential", "exponent": 0.5, "steps": 64, "reverse": False,
                  "fill": "dark-orange"},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    defaults = {"custom": {"hideFrom": {"legend": False, "tooltip": False, "viz": False},
                           "scaleDistribution": {"type": "linear"}}}
    return Panel("heatmap", title, text, about, unit, width, height, None, options, defaults)


def table(title, queries, about, columns, unit="short", width=12, height=8, thresholds=None, paint=None, sort=None,
          decimals=0, links=(), widths=()):
    """Instant queries beside each other; `columns` maps a label or value to its heading, in order.

    With one query its value is `Value`; with several they are `Value #A`, `Value #B` …
    """
    chosen = instant(queries, "table")
    defaults = {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True, "minWidth": 60},
                "color": {"mode": "thresholds"}, "decimals": decimals}
    # Words stay words: an enhanced status 5.1 is no number to be rounded.
    overrides = [by_name(heading, {"id": "unit", "value": "string"}) for name, heading in columns.items() if not name.startswith("Value")]
    overrides += [by_name(heading, {"id": "custom.width", "value": width}) for heading, width in dict(widths).items()]
    overrides += [by_name(name, {"id": "custom.cellOptions", "value": {"type": "color-text"}}) for name in listed_names(paint)]
    transformations = [{"id": "merge", "options": {}}] if len(chosen) > 1 else []
    transformations.append({
        "id": "organize",
        "options": {
            "excludeByName": {"Time": True},
            "indexByName": {name: place for place, name in enumerate(columns)},
            "renameByName": {name: heading for name, heading in columns.items() if name != heading},
        },
    })
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False}}
    if sort:
        options["sortBy"] = [{"displayName": sort, "desc": True}]
    return Panel("table", title, chosen, about, unit, width, height, thresholds, options, defaults, overrides,
                 transformations, links=links)


def listed_names(names):
    return [] if names is None else names if isinstance(names, list) else [names]


def bars(title, queries, about, unit="short", width=12, height=8, thresholds=None, decimals=0, source=PROMETHEUS):
    """Horizontal bars, one a query or label set."""
    options = {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "orientation": "horizontal",
        "displayMode": "gradient",
        "valueMode": "color",
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 300,
    }
    defaults = {"color": {"mode": "thresholds" if thresholds else "continuous-BlPu"}, "min": 0, "decimals": decimals}
    return Panel("bargauge", title, instant(queries), about, unit, width, height, thresholds, options, defaults, source=source)


class Row:
    """A heading over the panels that follow."""

    def __init__(self, title):
        self.title = title


def variable(name, label, text, every=None, regex=""):
    """A choice of label values, several at a time; `every` is what All stands for."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": PROMETHEUS,
        "definition": text,
        "query": {"query": text, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*" if every is None else every,
        "regex": regex,
        "hide": 0,
        "skipUrlSync": False,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
    }


def inputs():
    """Proxies or sniffers: both see the same mail where one stands beside the other, and must not be added up."""
    # In this order `proxy` comes first, and is shown unless something else is chosen.
    return {**variable("input", "Input", "label_values(mailtap_build_info, input)", ""),
            "multi": False, "includeAll": False, "sort": 2, "current": {}}


def source_variable(name, label, kind):
    return {
        "name": name,
        "label": label,
        "type": "datasource",
        "query": kind,
        "refresh": 1,
        "regex": "",
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "skipUrlSync": False,
        "current": {},
        "options": [],
    }


def words(name, label, about):
    """A text that the user types or a link fills in."""
    return {
        "name": name,
        "label": label,
        "description": about,
        "type": "textbox",
        "query": "",
        "hide": 0,
        "skipUrlSync": False,
        "current": {"selected": True, "text": "", "value": ""},
        "options": [{"selected": True, "text": "", "value": ""}],
    }


# What an operator did, drawn over every graph: name, colour, query whose points are the moments.
EVENTS = [
    ("Starts", "blue", 'changes(process_start_time_seconds{job="mailtap", @i}[2m]) > 0', "mailtap on {{instance}} started"),
    ("Reloads", "purple", "changes(mailtap_config_last_reload_success_timestamp_seconds{@i}[2m]) > 0", "{{instance}} took a configuration"),
    ("Refused reloads", "red", "mailtap_config_last_reload_successful{@i} == 0", "{{instance}} refused a configuration"),
]


def annotation(name, colour, text, title):
    return {"name": name, "datasource": PROMETHEUS, "enable": True, "hide": False, "iconColor": colour, "expr": expand(text),
            "titleFormat": title, "textFormat": "", "step": "60s", "useValueForTime": False}


class Board:
    """A dashboard: panels flow left to right and wrap; a Row begins a new line."""

    def __init__(self, uid, title, about, parts, protocols=None, more=(), variables=None, span="now-6h"):
        self.uid, self.title, self.about, self.parts, self.span = uid, title, about, parts, span
        of = f'{{instance=~"$instance", protocol=~"{protocols}"}}' if protocols else '{instance=~"$instance"}'
        self.variables = variables or [
            source_variable("datasource", "Prometheus", "prometheus"),
            inputs(),
            variable("instance", "Instance", 'label_values(mailtap_build_info{input=~"$input"}, instance)', ""),
            variable("listener", "Listener", 'label_values(mailtap_sessions_total{instance=~"$instance"}, listener)'),
            variable("protocol", "Protocol", f"label_values(mailtap_sessions_total{of}, protocol)", protocols),
            *more,
        ]

    def json(self):
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["mailtap"],
            "id": None,
            "editable": True,
            "graphTooltip": 1,
            "fiscalYearStartMonth": 0,
            "schemaVersion": 39,
            "version": 1,
            "refresh": "30s",
            "timezone": "browser",
            "time": {"from": self.span, "to": "now"},
            "timepicker": {},
            "weekStart": "",
            "annotations": {"list": [{
                "builtIn": 1,
                "datasource": {"type": "grafana", "uid": "-- Grafana --"},
                "enable": True,
                "hide": True,
                "iconColor": "rgba(0, 211, 255, 1)",
                "name": "Annotations & Alerts",
                "type": "dashboard",
            }, *(annotation(*each) for each in EVENTS if any(v["name"] == "instance" for v in self.variables))]},
            "links": [{
                "title": "mailtap",
                "type": "dashboards",
                "tags": ["mailtap"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }],
            "templating": {"list": self.variables},
            "panels": self.placed(),
        }

    def placed(self):
        panels, x, y, tallest = [], 0, 0, 0
        for part in self.parts:
            if isinstance(part, Row) or x + part.width > 24:
                x, y, tallest = 0, y + tallest, 0
            if isinstance(part, Row):
                made, width, height = {"id": 0, "type": "row", "title": part.title, "collapsed": False, "panels": []}, 24, 1
            else:
                made, width, height = part.json, part.width, part.height
            made["id"] = len(panels) + 1
            made["gridPos"] = {"h": height, "w": width, "x": x, "y": y}
            panels.append(made)
            tallest = max(tallest, height)
            x += width
            if isinstance(part, Row):
                x, y, tallest = 0, y + 1, 0
        return panels


# A link from a series to the sessions behind it: the log knows what a label must not.
def sessions_link(**fields):
    chosen = "".join(f"&var-{name}={value}" for name, value in fields.items())
    return {
        "title": "Sessions in the log",
        "url": f"/d/mailtap-sessions?${{__url_time_range}}{chosen}",
        "targetBlank": False,
    }


def mapped(**values):
    """Value mappings: `mapped(v1=("Up", "green"))`."""
    return [{"type": "value", "options": {
        name[1:]: {"text": text, "color": colour, "index": place}
        for place, (name, (text, colour)) in enumerate(values.items())
    }}]
