"""Is mailtap up, is mail flowing, is anything wrong: the page to keep open."""

from panels import (BLUE, GREEN, ORANGE, RED, YELLOW, Board, Row, graph, mapped, quantiles, query, sessions_link, stat, steps,
                    table)

ACCEPTED = 'mailtap_transactions_total{@lp, kind="delivery", outcome="accepted"'

BOARD = Board("mailtap-overview", "mailtap: Overview", __doc__, [
    Row("Now"),
    stat("Up", query('up{job="mailtap", instance=~"$instance"}', "{{instance}}"),
         "Whether Prometheus reaches each mailtap. Down: look at the process and its log first; an inline mailtap that is down "
         "takes mail with it, so send clients past it until it is back (runbook: MailtapDown).",
         width=4, thresholds=steps(RED, (1, GREEN)), mappings=mapped(v0=("Down", RED), v1=("Up", GREEN))),
    stat("Draining", query("max(mailtap_draining{@i})"),
         "Whether a mailtap waits for its last sessions before it ends. Drains longer than the drain timeout mean that a client "
         "holds a session open: see sessions by age in the log.",
         width=3, thresholds=steps(GREEN, (1, YELLOW)), mappings=mapped(v0=("No", GREEN), v1=("Draining", YELLOW))),
    stat("Build", query("mailtap_build_info{@i}", "{{version}} {{input}}"),
         "Version and kind of input of each mailtap. Instances that differ: finish the roll-out before you compare their numbers.",
         width=4, names=True),
    stat("Open sessions", query("sum(mailtap_sessions_active{@lp})"),
         "Connections open now. Much higher than usual: see whether one listener or protocol grows (below), and whether sessions "
         "end by timeout; a slow mail server keeps its clients waiting.",
         width=3, graph=True, decimals=0),
    stat("Authentication failures", query('(sum(increase(mailtap_auth_attempts_total{@lp, outcome="failed"}[$__range])) or vector(0)) / '
                                          "sum(increase(mailtap_auth_attempts_total{@lp}[$__range]))"),
         "Share of attempts that the server refused, over the range shown. Above one half with many attempts is guessing: see "
         "TLS and security, and block the sources that the session log names.",
         unit="percentunit", width=4, thresholds=steps(GREEN, (0.2, YELLOW), (0.5, RED)), decimals=1),
    stat("Messages under TLS", query(f'(sum(increase({ACCEPTED}, tls=~"starttls|implicit"}}[$__range])) or vector(0)) / '
                                     f'sum(increase({ACCEPTED}, tls!="unknown"}}[$__range]))'),
         "Share of accepted messages whose session was encrypted when MAIL was sent. Sessions that mailtap cannot read inside TLS, "
         "or saw from the middle on, are not in it. A fall means a peer lost TLS, or somebody removes STARTTLS on the way: see STARTTLS by outcome.",
         unit="percentunit", width=3, thresholds=steps(BLUE), decimals=1),
    stat("Unobserved sessions", query("sum(increase(mailtap_sessions_bypassed_total{@lp}[$__range]))"),
         "Sessions whose mail flowed on but which mailtap no longer understood; should be 0. Above: the reason is on the panel "
         "Unobserved sessions by reason, the sessions are in the log with outcome `unparseable`; report a defect with a capture.",
         width=3, thresholds=steps(GREEN, (1, RED)), decimals=0),
    Row("Where it is slow or fails"),
    table("Listeners", [
        query("sum by (listener) (rate(mailtap_sessions_total{@lp}[$__range]))"),
        query("sum by (listener) (mailtap_connections_open{@l}) or sum by (listener) (mailtap_sessions_active{@lp})"),
        query("sum by (listener) (mailtap_connections_waiting{@l})"),
        query("sum by (listener) (mailtap_connections_before_greeting{@l})"),
        query("sum by (listener) (increase(mailtap_connect_errors_total{@lp}[$__range]))"),
        query("histogram_quantile(0.95, sum by (le, listener) (increase(mailtap_greeting_seconds_bucket{@lp}[$__range])))"),
        query("max by (listener) (max_over_time(instance_listener:mailtap_deferred:ratio_rate10m{@l}[$__range]))"),
        query('histogram_quantile(0.95, sum by (le, listener) (increase(mailtap_command_latency_seconds_bucket{@lp, '
              'command="end_of_data"}[$__range])))')],
          "A row for each listener, over the range shown. Waiting: clients without a place, since the listener is full (runbook: "
          "ConnectionsWaiting). Silent: open connections that the server has not greeted. Errors: connections that its server did not take. Deferred: the highest share "
          "of deliveries that were put off, at whatever stage (runbook: MailDeferred). The last column is the wait for a message's reply.",
          {"listener": "Listener", "Value #A": "New/s", "Value #B": "Open", "Value #C": "Waiting", "Value #D": "Silent", "Value #E": "Errors",
           "Value #F": "Greeting p95, s", "Value #G": "Deferred, share", "Value #H": "End of data p95, s"},
          width=14, sort="Errors", decimals=2, paint=["Waiting", "Errors"], thresholds=steps(GREEN, (1, ORANGE))),
    table("Slowest commands", query("sort_desc(topk(12, histogram_quantile(0.95, sum by (le, listener, command) "
                                    "(increase(mailtap_command_latency_seconds_bucket{@lp}[$__range]))) > 0))"),
          "The commands for which one client in twenty waits longest, over the range shown. `end_of_data`: the content filter. RCPT: "
          "recipient checks and greylisting by delay. `greeting` is on its own panel. The session log names the sessions.",
          {"listener": "Listener", "command": "Command", "Value": "p95"}, unit="s", width=10, sort="p95", decimals=3,
          paint="p95", thresholds=steps(GREEN, (1, YELLOW), (10, RED)), links=[sessions_link()]),
    graph("Deferred by stage", query('sum by (listener, command) (rate(mailtap_smtp_replies_total{@lp, code=~"4..", '
                                     'command=~"greeting|MAIL|RCPT|DATA|end_of_data"}[@])) / (sum by (listener, command) '
                                     "(rate(mailtap_smtp_replies_total{@lp}[@])) > 0)", "{{listener}} {{command}}"),
          "Share of replies with a temporary refusal, by listener and stage. At the greeting: the server sheds load. At RCPT: greylisting, "
          "limits, quotas. For the message: the content filter or the disk (runbook: MailDeferred).",
          unit="percentunit", width=12, most=1),
    graph("Connect errors", query("sum by (listener, reason) (rate(mailtap_connect_errors_total{@lp}[@])) > 0", "{{listener}} {{reason}}"),
          "Connections a second that a server did not take. `refused`: it is not running or its queue is full. `timeout`, `unreachable`: "
          "the network between mailtap and the server (runbook: UpstreamErrors).",
          unit="cps", width=12, stack=True),
    Row("Attention"),
    table("Firing alerts", query('sum by (alertname, severity, protocol, listener) (ALERTS{alertstate="firing", component="mailtap"})'),
          "Alerts of prometheus/rules.yml that fire now. Each has a section of its name in docs/runbook.md. Empty is good.",
          {"alertname": "Alert", "severity": "Severity", "listener": "Listener", "protocol": "Protocol", "Value": "Count"},
          width=8, paint="Count", thresholds=steps(GREEN, (1, RED))),
    table("Anomalies", query("sort_desc(sum by (protocol, anomaly, outcome) (increase(mailtap_anomalies_total{@lp}[$__range])) > 0)"),
          "What should not happen, over the range shown, and how it was settled. Anything `accepted` deserves a look at its "
          "sessions in the log: the record of the anomaly has the offset and the octets.",
          {"protocol": "Protocol", "anomaly": "Anomaly", "outcome": "Outcome", "Value": "Count"},
          width=8, paint="Count", sort="Count", widths={"Anomaly": 190, "Protocol": 80}, thresholds=steps(BLUE, (100, ORANGE)),
          links=[sessions_link(protocol="${__data.fields.Protocol}")]),
    graph("Unobserved sessions by reason", query("sum by (reason) (rate(mailtap_sessions_bypassed_total{@lp}[@]))", "{{reason}}"),
          "Sessions that went on without being understood; should stay at 0 (runbook: MailtapBypass). `panic` and `parse_error` "
          "are defects to report, `work_limit` is a session that asked for too much, `unknown_protocol` a port that is not mail.",
          unit="cps", width=8),
    Row("Traffic"),
    graph("New sessions", query("sum by (protocol) (rate(mailtap_sessions_total{@lp}[@]))", "{{protocol}}"),
          "Connections a second by protocol. A sudden end is a network or server fault before mailtap; a sudden rise is a "
          "campaign or a client in a loop: the log's top clients name it.",
          unit="cps", width=8, stack=True, links=[sessions_link(protocol="${__field.labels.protocol}")]),
    graph("Open sessions", query("sum by (protocol) (mailtap_sessions_active{@lp})", "{{protocol}}"),
          "Connections open by protocol. IMAP climbs through the day and is harmless; SMTP that climbs without more new sessions "
          "means the server answers slowly: see command latency.",
          width=8, stack=True),
    graph("Octets", [query('sum by (protocol) (rate(mailtap_bytes_total{@lp, direction="client_to_server"}[@]))', "{{protocol}} from clients"),
                     query('sum by (protocol) (rate(mailtap_bytes_total{@lp, direction="server_to_client"}[@]))', "{{protocol}} from servers")],
          "Application octets a second, from clients upwards, from servers downwards. A flat top at the speed of a link is a "
          "bottleneck; look there before you look at servers.",
          unit="Bps", width=8, mirror="/from servers$/"),
    graph("Messages by outcome", query("sum by (outcome) (rate(mailtap_transactions_total{@lp}[@])) > 0", "{{outcome}}"),
          "Deliveries, retrievals and appends by how they ended. Rejections rise: see replies by code on the SMTP dashboard. "
          "Lost connections rise: look at the network and at the server's limits.",
          unit="mps", width=12, stack=True, bars=True, links=[sessions_link(outcome="${__field.labels.outcome}")]),
    graph("Sessions ended by outcome", query("sum by (outcome) (rate(mailtap_sessions_ended_total{@lp}[@])) > 0", "{{outcome}}"),
          "`ok` and `encrypted` are normal. `refused_at_connect`: the server greets with an error. `server_gone` and `timeout`: "
          "the server. `client_gone` and `reset`: clients or the path to them. Compare with the phase on the SMTP dashboard.",
          unit="cps", width=12, stack=True, bars=True, links=[sessions_link()]),
    Row("Quality"),
    graph("Greeting", quantiles("mailtap_greeting_seconds", "@lp"),
          "Time from connection to the first octet of the greeting. Above 5 s clients begin to give up (runbook: SlowGreeting): "
          "look at name resolution and reputation look-ups of the server, and at its process limit.",
          unit="s", width=8, thresholds=steps(GREEN, (5, RED)), limit=True),
    graph("Authentication failures", query('sum by (protocol) (rate(mailtap_auth_attempts_total{@lp, outcome="failed"}[@])) / '
                                           "sum by (protocol) (rate(mailtap_auth_attempts_total{@lp}[@]))", "{{protocol}}"),
          "Share of attempts refused, by protocol. Near 1 on all protocols at once: the server's user database is out of reach. "
          "On one protocol with many attempts: guessing (runbook: AuthBruteForce).",
          unit="percentunit", width=8, most=1, thresholds=steps(GREEN, (0.5, RED)), limit=True),
    graph("Accepted messages by encryption", query(f"sum by (tls) (rate({ACCEPTED}}}[@]))", "{{tls}}"),
          "Accepted messages a second by the state of the session when MAIL was sent. `none` grows where `starttls` falls: a "
          "peer or something between stopped offering TLS (runbook: TlsShareDrop).",
          unit="mps", width=8, stack=True),
])
