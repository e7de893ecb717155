"""Capture health: whether the other dashboards can be believed. What was not seen is counted here."""

from panels import BLUE, GREEN, ORANGE, RED, YELLOW, Board, Row, graph, query, stat, steps, table

RANGE = "[$__range]"

BOARD = Board("mailtap-capture", "mailtap: Capture health", __doc__, [
    Row("Over the range shown"),
    stat("Packets lost", query(f"sum(increase(mailtap_capture_dropped_packets_total{{@l}}{RANGE})) / sum(increase(mailtap_capture_packets_total{{@l}}{RANGE}))"),
         "Share of packets dropped before they were looked at. Above 0.1 %: larger --buffer, a narrower filter, more cores "
         "(runbook: CaptureLoss).",
         unit="percentunit", thresholds=steps(GREEN, (0.0001, YELLOW), (0.001, RED)), decimals=2),
    stat("Octets never seen", query(f"sum(increase(mailtap_tcp_gap_bytes_total{{@l}}{RANGE}))"),
         "TCP octets that neither side sent again and the capture lacks. Without drops here they are lost before: a mirror port "
         "that is too small.",
         unit="bytes", thresholds=steps(GREEN, (1, ORANGE))),
    stat("Start not seen", query(f"(sum(increase(mailtap_sessions_midstream_total{{@lp}}{RANGE})) or vector(0)) / sum(increase(mailtap_sessions_total{{@lp}}{RANGE}))"),
         "Share of sessions already under way. High only after a start. Later: SYN packets are missing, or one direction takes "
         "another path.",
         unit="percentunit", thresholds=steps(GREEN, (0.05, YELLOW), (0.2, RED)), decimals=1),
    stat("Latencies not taken", query(f"sum(increase(mailtap_command_latency_unobserved_total{{@lp}}{RANGE})) / "
                                      f"(sum(increase(mailtap_command_latency_unobserved_total{{@lp}}{RANGE})) + sum(increase(mailtap_command_latency_seconds_count{{@lp}}{RANGE})))"),
         "Share of commands whose service time could not be told. `coalesced` and `excluded` are normal, see below; `gap` and "
         "`one_sided` are loss.",
         unit="percentunit", thresholds=steps(BLUE), decimals=1),
    stat("Log events lost", query(f"sum(increase(mailtap_log_dropped_events_total{{@i}}{RANGE}))"),
         "Records that did not reach the log; should be 0. See the reason below (runbook: LogSinkLoss).",
         thresholds=steps(GREEN, (1, RED)), decimals=0),
    stat("Batches waiting", query("sum(mailtap_analysis_queue_depth{@i})"),
         "Batches of packets that wait for a thread; should fall back to 0. If not: more cores, or a narrower filter.",
         thresholds=steps(GREEN, (100, RED)), decimals=0),
    Row("Packets"),
    graph("Packets", query("sum by (listener) (rate(mailtap_capture_packets_total{@l}[@]))", "{{listener}}"),
          "Packets a second that reached mailtap. 0 on an interface that carries mail: the filter, a mirror port that was "
          "switched off, or VLAN tags the filter does not know.",
          unit="cps", width=8, stack=True),
    graph("Octets captured", query("sum by (listener) (rate(mailtap_capture_bytes_total{@l}[@]))", "{{listener}}"),
          "Octets a second off the wire. Compare with the switch's own counter of that port: less here is loss before the host.",
          unit="Bps", width=8, stack=True),
    graph("Drops", query("sum by (reason) (rate(mailtap_capture_dropped_packets_total{@l}[@]))", "{{reason}}"),
          "`kernel`: --buffer too small or too few cores. `interface`: the card, raise its ring with ethtool -G. `queue`: threads "
          "behind. `snaplen`: cut frames. `decode`: links mailtap cannot read (runbook: CaptureLoss).",
          unit="cps", width=8, stack=True, bars=True),
    graph("Not understood", query("sum by (listener, reason) (rate(mailtap_capture_not_understood_packets_total{@l}[@]))", "{{listener}} {{reason}}"),
          "Packets that reached mailtap and may hold mail, but in a wrapping it does not read. The reason names the layer; "
          "`mailtap analyze` on a few seconds of capture names the protocol. Capture behind the tunnel's end instead.",
          unit="cps", width=24, stack=True, bars=True),
    Row("TCP"),
    graph("Octets never seen", query("sum by (listener, direction) (rate(mailtap_tcp_gap_bytes_total{@l}[@]))", "{{listener}} {{direction}}"),
          "Holes in streams. One direction only: asymmetric routing, mirror both directions. Both, with drops above: the host.",
          unit="Bps", width=8, stack=True),
    graph("Retransmitted and out of order", [query("sum by (direction) (rate(mailtap_tcp_retransmitted_segments_total{@l}[@]))", "retransmitted {{direction}}"),
                                             query("sum by (direction) (rate(mailtap_tcp_out_of_order_segments_total{@l}[@]))", "out of order {{direction}}")],
          "Health of the network itself. Retransmissions above a percent of packets: lossy path; mail slows down. Everything "
          "doubled: the mirror port shows each packet twice, or the filter sees a VLAN and its parent.",
          unit="cps", width=8),
    graph("Overlaps that differ", query("sum by (listener, direction) (rate(mailtap_tcp_overlaps_total{@l}[@]))", "{{listener}} {{direction}}"),
          "Segments sent twice with different octets; should be 0. An attempt to show mailtap and the server different mail, "
          "or a very broken stack: the anomaly tcp.overlap_conflict names the session.",
          unit="eps", width=8, stack=True, bars=True),
    graph("Flows evicted", query("sum by (reason) (rate(mailtap_tcp_flows_evicted_total{@l}[@]))", "{{reason}}"),
          "`idle` is house-keeping. `table_full`: more flows than the budget allows: raise it, or narrow the filter.",
          unit="eps", width=8, stack=True),
    graph("Held for reordering", query("sum by (listener) (mailtap_tcp_buffered_bytes{@l})", "{{listener}}"),
          "Octets that wait for an earlier segment. Stays high: loss in the capture; falls back by itself when gaps are given up.",
          unit="bytes", width=8),
    graph("Sessions picked up under way", query("sum by (listener, protocol) (rate(mailtap_sessions_midstream_total{@lp}[@]))", "{{listener}} {{protocol}}"),
          "Sessions without their beginning. A steady level: SYN packets are filtered out; use a filter by port, not by state.",
          unit="cps", width=8, stack=True),
    Row("Analysis"),
    graph("Latencies not taken, by reason", query("sum by (reason) (rate(mailtap_command_latency_unobserved_total{@lp}[@]))", "{{reason}}"),
          "`coalesced`: several replies in one segment, usual with pipelining. `excluded`: IDLE and the like. `gap`, `one_sided`: "
          "loss. `negative`: clocks of several interfaces differ: use one clock.",
          unit="ops", width=8, stack=True),
    graph("Grammar left", query("sum by (direction, reason) (rate(mailtap_parser_errors_total{@p}[@]))", "{{direction}} {{reason}}"),
          "Lines outside the grammar. From clients: bad software, or not mail. From servers, steady: a dialect mailtap should "
          "learn; report it with a capture.",
          unit="eps", width=8, stack=True, bars=True),
    graph("Unobserved sessions", query("sum by (reason) (rate(mailtap_sessions_bypassed_total{@lp}[@]))", "{{reason}}"),
          "Sessions given up; should be 0. By reason: what to do is in the runbook under MailtapBypass.",
          unit="cps", width=8, stack=True, bars=True),
    graph("Queue", query("mailtap_analysis_queue_depth{@i}", "{{instance}}"),
          "Batches that wait for a thread. Grows without end: too few cores; drops with reason `queue` follow.",
          width=12),
    table("Series dropped", query(f"sum by (family) (increase(mailtap_metrics_series_dropped_total{{@i}}{RANGE}))"),
          "Families that ran into their cap of label sets: what came later is under `other`. All 0 is good.",
          {"family": "Family", "Value": "Label sets"}, width=12, sort="Label sets", paint="Label sets", thresholds=steps(GREEN, (1, ORANGE))),
    Row("Session log"),
    graph("Records written", query("sum by (sink) (rate(mailtap_log_events_total{@i}[@]))", "{{sink}}"),
          "Log records a second. 0 while sessions end: the sink is stuck; see errors beside.",
          unit="eps", width=6),
    graph("Errors and losses", [query("sum by (sink) (rate(mailtap_log_errors_total{@i}[@]))", "{{sink}} error"),
                                query("sum by (sink, reason) (rate(mailtap_log_dropped_events_total{@i}[@]))", "{{sink}} {{reason}}")],
          "`queue_full`: the disk or the sink is slower than mail. `sink_error`: full disk, lost permission (runbook: LogSinkLoss).",
          unit="eps", width=6, stack=True, bars=True),
    graph("Lag", query("max by (sink) (mailtap_log_lag_seconds{@i})", "{{sink}}"),
          "Age of the oldest record not yet written. Above some seconds: the sink cannot follow; losses come next.",
          unit="s", width=6, thresholds=steps(GREEN, (10, ORANGE)), limit=True),
    graph("Spool", query("sum by (sink) (mailtap_log_spool_bytes{@i})", "{{sink}}"),
          "Octets waiting to be written. Grows without end: the sink cannot follow, as for lag.",
          unit="bytes", width=6),
])
