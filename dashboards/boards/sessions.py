"""Session drill-down: from a number to the sessions behind it. Reads the session log from Loki, not Prometheus."""

from panels import (BLUE, LOKI, Board, Panel, Row, bars, by_name, graph, query, source_variable, steps, words)

CHOICE = ["smtp", "lmtp", "imap", "pop3", "managesieve", "unknown"]
HERE = "/d/mailtap-sessions?${__url_time_range}&var-session=${__data.fields.Session}"


def lines(record, filters="", **paths):
    """A log query: the stream, the fields taken out of each line by JSON path, and the choices of the user."""
    wanted = {"session": "session", "client": "client.ip", **paths}
    taken = ", ".join(f'{name}="{path}"' for name, path in wanted.items())
    return (f'{{job="mailtap", record="{record}", protocol=~"$protocol"}} | json {taken} '
            f'| session=~"$session.*" | client=~"$client.*"{filters}')


def log_table(title, text, about, columns, units, height=10, width=24, limit=500):
    """Log lines as a table; `columns` maps an extracted field to its heading."""
    overrides = [by_name(heading, {"id": "unit", "value": unit}) for heading, unit in units.items()]
    overrides.append(by_name("Session", {"id": "links", "value": [{"title": "This session only", "url": HERE, "targetBlank": False}]}))
    overrides.append(by_name("Time", {"id": "custom.width", "value": 180}))
    numbers = [heading for heading in units if heading != "Time"]
    transformations = [
        {"id": "extractFields", "options": {"source": "labels", "format": "auto", "replace": False, "keepTime": True}},
        {"id": "filterFieldsByName", "options": {"include": {"names": ["Time", *columns]}}},
        {"id": "organize", "options": {
            "excludeByName": {},
            "indexByName": {name: place for place, name in enumerate(["Time", *columns])},
            "renameByName": columns,
        }},
        {"id": "convertFieldType", "options": {"fields": {}, "conversions": [
            {"targetField": heading, "destinationType": "number"} for heading in numbers]}},
    ]
    defaults = {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": True, "filterable": True, "minWidth": 60}}
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False},
               "sortBy": [{"displayName": "Time", "desc": True}]}
    return Panel("table", title, query(text, "", lines=limit), about, "string", width, height, steps(BLUE), options, defaults, overrides,
                 transformations, source=LOKI)


def top(title, text, label, about, width=8):
    return bars(title, query(f"topk(10, sum by ({label}) (count_over_time({text} [$__range])))", f"{{{{{label}}}}}"), about,
                width=width, height=9, source=LOKI)


def phase(name, path):
    text = lines("transaction", ' | __error__=""', kind="kind", phase=path)
    return query(f'quantile_over_time(0.95, {text} | kind="delivery" | unwrap phase [$__auto]) by (protocol)', f"{{{{protocol}}}} {name}")


PROTOCOL = {
    "name": "protocol",
    "label": "Protocol",
    "type": "custom",
    "query": ",".join(CHOICE),
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "hide": 0,
    "skipUrlSync": False,
    "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    "options": [{"selected": True, "text": "All", "value": "$__all"},
                *({"selected": False, "text": name, "value": name} for name in CHOICE)],
}

BOARD = Board("mailtap-sessions", "mailtap: Session drill-down", __doc__, [
    Row("Transactions and sessions"),
    log_table("Transactions",
              lines("transaction", ' | outcome=~"$outcome.*" | label_format from_domain="{{ regexReplaceAll `^.*@` .reverse_path `` }}"',
                    kind="kind", outcome="outcome", reverse_path="reverse_path", recipients="recipients_total",
                    first="recipients[0].forward_path", size="message.size", code="final.code", text="final.text", tls="tls",
                    go="timing.data_go", transfer="timing.transfer", reply="timing.reply", duration="duration"),
              "One line a message moved. Sort by a time column to find the slow phase: Before data is the server's checks, Transfer the "
              "path, Reply its content filter. Click a session to see all of it below.",
              {"session": "Session", "protocol": "Protocol", "client": "Client", "kind": "Kind", "outcome": "Outcome",
               "from_domain": "From domain", "first": "First recipient", "recipients": "Recipients", "size": "Size", "code": "Code",
               "tls": "TLS", "go": "Before data", "transfer": "Transfer", "reply": "Reply", "duration": "In all", "text": "Reply text"},
              {"Recipients": "none", "Size": "bytes", "Before data": "s", "Transfer": "s", "Reply": "s", "In all": "s"}),
    log_table("Sessions",
              lines("session", ' | outcome=~"$outcome.*"', outcome="outcome", helo="helo", source="source", mode="tls.mode", version="tls.version",
                    transactions="counts.transactions", refused="counts.errors_permanent", delayed="counts.errors_temporary",
                    anomalies="counts.anomalies", phase="close.phase", by="close.by", duration="duration", community_id="community_id"),
              "One line a connection. Many from one client that end in the same phase: look at that client. The community id finds "
              "the same connection in Zeek, Suricata or a capture.",
              {"session": "Session", "protocol": "Protocol", "client": "Client", "helo": "EHLO name", "source": "Listener", "outcome": "Outcome",
               "phase": "Ended in", "by": "Closed by", "mode": "TLS", "version": "Version", "transactions": "Transactions", "refused": "Refused",
               "delayed": "Put off", "anomalies": "Anomalies", "duration": "Duration", "community_id": "Community id"},
              {"Transactions": "none", "Refused": "none", "Put off": "none", "Anomalies": "none", "Duration": "s"}),
    Row("Who and why"),
    top("Top clients", lines("session"), "client",
        "Clients with most sessions. One far ahead of its usual: a loop, a campaign or a taken account; put its address into "
        "Client above."),
    top("Top sender domains", lines("transaction", ' | kind="delivery" | label_format from_domain="{{ regexReplaceAll `^.*@` .reverse_path `` }}"',
                                    kind="kind", reverse_path="reverse_path"), "from_domain",
        "Domains of the envelope sender. Empty is the null sender of bounces: many of them is backscatter of a forged domain."),
    top("Outcomes", lines("transaction", outcome="outcome"), "outcome",
        "Transactions by outcome. Type one into Outcome above to see only those."),
    log_table("Refusals",
              lines("transaction", ' | outcome=~"rejected.*|partial|error" | outcome=~"$outcome.*"', outcome="outcome", reverse_path="reverse_path",
                    first="recipients[0].forward_path", code="recipients[0].code", enhanced="recipients[0].enhanced", text="recipients[0].text",
                    final_code="final.code", final="final.text"),
              "What servers said when they refused, secrets masked. The text usually names the list or the policy: ask whoever runs it.",
              {"session": "Session", "protocol": "Protocol", "client": "Client", "outcome": "Outcome", "reverse_path": "From",
               "first": "First recipient", "code": "RCPT code", "enhanced": "Status", "text": "RCPT text", "final_code": "Final code", "final": "Final text"},
              {}, width=12),
    log_table("Authentication",
              lines("auth", ' | outcome=~"$outcome.*"', method="method", mechanism="mechanism", identity="identity", outcome="outcome",
                    reason="reason", tls="tls", latency="latency"),
              "Attempts to log in. Failed identities are hashes unless told otherwise: the same hash again and again is one account "
              "being guessed at, or a device with an old password.",
              {"session": "Session", "protocol": "Protocol", "client": "Client", "method": "Method", "mechanism": "Mechanism", "identity": "Identity",
               "outcome": "Outcome", "tls": "TLS", "reason": "Reason", "latency": "Latency"},
              {"Latency": "s"}, width=12),
    Row("Time"),
    graph("Delivery phases, p95", [phase("before data", "timing.data_go"), phase("transfer", "timing.transfer"), phase("reply", "timing.reply")],
          "Where a delivery spends its time. Before data: the server's checks. Transfer: the path. Reply: content filters.",
          unit="s", source=LOKI),
    graph("Records", query('sum by (record) (count_over_time({job="mailtap", protocol=~"$protocol"} [$__auto]))', "{{record}}"),
          "Lines that reached the log store. 0 here while the Overview shows sessions: the shipper stands still.",
          source=LOKI, stack=True, bars=True),
    log_table("Anomalies", lines("anomaly", id="id", severity="severity", state="state", variant="variant", sender="direction", place="offset"),
              "What should not happen, with where in the stream. `accepted` first: then go to the session.",
              {"session": "Session", "protocol": "Protocol", "client": "Client", "id": "Anomaly", "variant": "Variant", "severity": "Severity",
               "state": "State", "sender": "Sent by", "place": "Offset"},
              {"Offset": "none"}, height=8),
], variables=[
    source_variable("logs", "Loki", "loki"),
    PROTOCOL,
    words("session", "Session", "Id of a session, or its beginning"),
    words("client", "Client", "Address of a client, or its beginning"),
    words("outcome", "Outcome", "Outcome of a session or transaction, or its beginning"),
], span="now-1h")
