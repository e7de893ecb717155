"""Proxy health: what mailtap itself costs, and whether it can keep up."""

from panels import GREEN, ORANGE, RED, YELLOW, Board, Row, graph, heatmap, mapped, quantiles, query, stat, steps

JOB = 'job="mailtap", instance=~"$instance"'

BOARD = Board("mailtap-proxy", "mailtap: Proxy health", __doc__, [
    Row("Now"),
    stat("Added latency, p99", query("histogram_quantile(0.99, sum by (le) (increase(mailtap_proxy_added_latency_seconds_bucket{@l}[$__range])))"),
         "From when octets can be read to having written them on: what the proxy costs. Above 5 ms: too little CPU, or peers that do not "
         "read (runbook: ProxyAddedLatency).",
         unit="s", thresholds=steps(GREEN, (0.001, YELLOW), (0.005, RED))),
    stat("Open connections", query("sum(mailtap_connections_open{@l})"),
         "Connections from accept to close, whether or not anybody has spoken. Compare with the limit beside it; far above the usual, see which listener grew.", graph=True, decimals=0),
    stat("Of the limit", query("max(sum by (instance, listener) (mailtap_connections_open{@l}) / sum by (instance, listener) (mailtap_sessions_limit{@l} > 0))"),
         "The fullest listener that has a --max-connections. Above 85 %: raise the limit if CPU and descriptors allow, else add "
         "an instance (runbook: SessionSaturation). No data: no listener has a limit.",
         unit="percentunit", thresholds=steps(GREEN, (0.7, YELLOW), (0.85, RED)), decimals=0),
    stat("Descriptors in use", query(f"max(process_open_fds{{{JOB}}} / process_max_fds{{{JOB}}})"),
         "File descriptors: two for each session. Above 80 %: raise LimitNOFILE (runbook: SessionSaturation).",
         unit="percentunit", thresholds=steps(GREEN, (0.6, YELLOW), (0.8, RED)), decimals=1),
    stat("Spliced share", query('sum(increase(mailtap_spliced_bytes_total{@l}[$__range])) / sum(increase(mailtap_bytes_total{@l}[$__range]))'),
         "Octets that the kernel moved (TLS passed through). Low is no fault: octets that are read cannot be spliced. High load "
         "with 0 % and much TLS: check --splice.",
         unit="percentunit", decimals=1),
    stat("Last reload", query("min(mailtap_config_last_reload_successful{@i})"),
         "Whether the configuration was taken at the last reload. Failed: the old one is still in force; the process log says "
         "which line is wrong.",
         thresholds=steps(RED, (1, GREEN)), mappings=mapped(v0=("Failed", RED), v1=("Good", GREEN))),
    Row("Forwarding"),
    graph("Added latency", quantiles("mailtap_proxy_added_latency_seconds", "@l", shares=(0.5, 0.95, 0.99)),
          "What the proxy adds to each read, both directions. A rise with CPU at its limit: more threads or instances. A rise "
          "without: peers that stop reading, see paused reading.",
          unit="s", width=8, log=True, thresholds=steps(GREEN, (0.005, RED)), limit=True),
    heatmap("Added latency", "mailtap_proxy_added_latency_seconds", "@l",
            "The same as a picture: a second band is a group of peers that reads slowly.", width=8),
    graph("Connect to the server, p99", query("histogram_quantile(0.99, sum by (le, listener) (rate(mailtap_connect_seconds_bucket{@lp}[@])))", "{{listener}}"),
          "Time to open the connection to the mail server. Near 1 s and 3 s: lost SYNs, a full listen queue there: raise its "
          "backlog or its number of processes.",
          unit="s", width=8, log=True),
    graph("Connect errors", query("sum by (reason) (rate(mailtap_connect_errors_total{@lp}[@]))", "{{reason}}"),
          "Servers that could not be reached: clients are turned away meanwhile (runbook: UpstreamErrors). `refused`: the service is "
          "down. `timeout`, `unreachable`: the network, or a firewall.",
          unit="cps", width=8, stack=True, bars=True),
    graph("Reading paused", query("sum by (direction) (rate(mailtap_forward_paused_seconds_total{@l}[@]))", "{{direction}}"),
          "Seconds a second in which reading waits for the other side to take what it has. client_to_server: the mail server is "
          "slow. server_to_client: slow lines of clients, mostly harmless.",
          unit="s", width=8),
    graph("Pauses", query("sum by (direction) (rate(mailtap_forward_paused_total{@l}[@]))", "{{direction}}"),
          "How often reading stops. Many short pauses are normal flow control; few long ones (beside) are stalls.",
          unit="cps", width=8),
    graph("Buffered octets", query("sum by (direction) (mailtap_forward_buffered_bytes{@l})", "{{direction}}"),
          "Read and not yet written. Bounded by sessions times buffer size; near that bound every peer is slow: look at the "
          "network between proxy and servers.",
          unit="bytes", width=8),
    graph("Half-closed sessions", query("sum by (listener) (mailtap_half_closed_sessions{@l})", "{{listener}}"),
          "One side has closed, the other has not. Many that stay: servers that do not notice, until --half-close-timeout ends "
          "them; lower it if they pile up.",
          width=8),
    graph("Spliced octets", query("sum by (direction) (rate(mailtap_spliced_bytes_total{@l}[@]))", "{{direction}}"),
          "Octets moved by the kernel without a copy through mailtap. Ends suddenly while TLS goes on: splice failed and copying "
          "took over; mail is unharmed, CPU rises.",
          unit="Bps", width=8),
    graph("Lag of the event loops", quantiles("mailtap_loop_lag_seconds", "@i", shares=(0.5, 0.95, 0.99)),
          "How late the forwarding threads come to a timer. As late they come to a socket that is ready: above 50 ms clients feel it "
          "(runbook: LoopStarved). CPU at its limit: more threads. Else: steal time of a virtual machine, swap.",
          unit="s", width=8, log=True, thresholds=steps(GREEN, (0.05, RED)), limit=True),
    Row("Waiting"),
    graph("Waiting for a place", query("sum by (listener) (mailtap_connections_waiting{@l})", "{{listener}}"),
          "Clients that have connected and are not let in, since the listener is full (runbook: ConnectionsWaiting). Above 0 for a second is "
          "a burst; longer: see what the open connections do, beside.",
          width=6, thresholds=steps(GREEN, (1, RED)), limit=True),
    graph("Before the greeting", query("sum by (listener) (mailtap_connections_before_greeting{@l})", "{{listener}}"),
          "Open connections to which the server has said nothing. Many at a listener of TLS: clients that connect and are silent. Elsewhere: "
          "a server that accepts and does not greet (runbook: GreetingTimeouts).",
          width=6),
    graph("Oldest before the greeting", query("max by (listener) (mailtap_connections_before_greeting_oldest_seconds{@l})", "{{listener}}"),
          "For how long the oldest of them has been open. Climbs in a straight line to --greeting-timeout: nobody speaks on it.",
          unit="s", width=6),
    graph("Greeting timeouts", query("sum by (listener) (rate(mailtap_greeting_timeouts_total{@l}[@]))", "{{listener}}"),
          "Connections that the server took and never greeted, closed after --greeting-timeout (runbook: GreetingTimeouts). Any is a fault of "
          "the server: its process limit, or what it asks before it greets.",
          unit="cps", width=6, bars=True),
    Row("Turned away and ended"),
    graph("Rejected connections", query("sum by (reason) (rate(mailtap_sessions_rejected_total{@l}[@]))", "{{reason}}"),
          "Not forwarded at all. `max_connections`: the listener is full. `per_source`, `rate`: one address asks too much; if it "
          "is a partner, raise its limit. `loop`: the proxy would reach itself: fix the redirect. `descriptors`: raise LimitNOFILE.",
          unit="cps", width=8, stack=True, bars=True),
    graph("Terminated sessions", query("sum by (reason) (rate(mailtap_sessions_terminated_total{@lp}[@]))", "{{reason}}"),
          "Closed by mailtap. `timeout` in phase idle is house-keeping, in data a stalled path (the log has the phase). `drain`: a restart. "
          "`error`: the process log has the reason.",
          unit="cps", width=8, stack=True, bars=True),
    graph("TLS failures", query("sum by (side, reason) (rate(mailtap_tls_failures_total{@lp}[@]))", "{{side}} {{reason}}"),
          "TLS answered or begun by mailtap that came to nothing. With the client: `unknown_ca` and `expired` are our own certificate, "
          "`not_tls` and `protocol_version` its software. With the server: its certificate, or --upstream-ca and --upstream-name.",
          unit="cps", width=8, stack=True, bars=True),
    graph("Health checks", query("sum by (listener) (rate(mailtap_health_checks_total{@l}[@]))", "{{listener}}"),
          "Connections of --health-from that said nothing, or only QUIT; no other number has them. They end: the balancer no longer looks, or "
          "looks at something else.",
          unit="cps", width=8),
    graph("Connections and limit", [query("sum by (listener) (mailtap_connections_open{@l})", "{{listener}}"),
                                 query("sum by (listener) (mailtap_sessions_limit{@l} > 0)", "{{listener}} limit")],
          "Open connections beside --max-connections. Lines that touch: clients wait or are refused (runbook: SessionSaturation).",
          width=8),
    Row("Process"),
    graph("CPU", query(f"rate(process_cpu_seconds_total{{{JOB}}}[@])", "{{instance}}"),
          "Cores in use. Near the number of --threads: give it more, or another instance.", width=8),
    graph("Memory", query(f"process_resident_memory_bytes{{{JOB}}}", "{{instance}}"),
          "Resident memory. Follows open sessions. Climbs while sessions do not: a leak, report it with a heap profile.",
          unit="bytes", width=8),
    graph("Descriptors", [query(f"process_open_fds{{{JOB}}}", "{{instance}} open"), query(f"process_max_fds{{{JOB}}}", "{{instance}} limit")],
          "Open file descriptors and their limit. Two for each session, and a few more.", width=8, log=True),
    stat("Running since", query(f"max(process_start_time_seconds{{{JOB}}}) * 1000"),
         "Start of the youngest process. Younger than you know of: it was restarted; see why in its log.", unit="dateTimeFromNow", width=6),
    stat("Configuration of", query("max(mailtap_config_last_reload_success_timestamp_seconds{@i}) * 1000"),
         "When the configuration was last read with success. Older than your last change: reload it (SIGHUP).", unit="dateTimeFromNow", width=6),
    stat("Series dropped", query("sum(increase(mailtap_metrics_series_dropped_total{@i}[$__range]))"),
         "Label sets beyond the cap of a family: their values are under `other`. Above 0: raise the cap, or use fewer listeners.",
         width=6, thresholds=steps(GREEN, (1, ORANGE)), decimals=0, none="0"),
    stat("Draining", query("max(mailtap_draining{@i})"),
         "Whether the proxy waits for its last sessions. Longer than --drain-timeout cannot be: report it.",
         width=6, thresholds=steps(GREEN, (1, YELLOW)), mappings=mapped(v0=("No", GREEN), v1=("Draining", YELLOW))),
])
