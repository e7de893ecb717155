"""IMAP and POP3: who logs in, what mailbox servers answer, how long FETCH and SEARCH take, how IDLE is used."""

from panels import (BLUE, GREEN, ORANGE, RED, YELLOW, Board, Row, graph, heatmap, quantiles, query, sessions_link, stat, steps,
                    table)

BOX = '@lp, protocol=~"imap|pop3"'
IMAP = '@lp, protocol="imap"'
POP3 = '@lp, protocol="pop3"'
RANGE = "[$__range]"


def p95(title, filters, commands, about, names, width=8):
    return graph(title, query(f'histogram_quantile(0.95, sum by (le, command) (rate(mailtap_command_latency_seconds_bucket{{{filters}, command=~"{commands}"}}[@])))', "{{command}}"),
                 about, unit="s", width=width, log=True)


BOARD = Board("mailtap-mailboxes", "mailtap: IMAP and POP3", __doc__, [
    Row("Now"),
    stat("Open IMAP sessions", query('sum(mailtap_sessions_active{@lp, protocol="imap"})'),
         "IMAP connections open now. Near the server's limit per user or address clients are refused: raise it, or find the "
         "client that opens one connection a folder.", width=4, graph=True, decimals=0),
    stat("In IDLE", query("sum(mailtap_imap_idle_active{@l})"),
         "Connections that wait for new mail. Falls to 0 while sessions stay open: the server no longer offers IDLE, and "
         "clients poll instead.", width=4, graph=True, decimals=0),
    stat("Open POP3 sessions", query('sum(mailtap_sessions_active{@lp, protocol="pop3"})'),
         "POP3 connections open now. They should be short: many open ones mean slow maildrop locks on the server.",
         width=4, graph=True, decimals=0),
    stat("Authentication failures", query(f'sum(increase(mailtap_auth_attempts_total{{{BOX}, outcome="failed"}}{RANGE})) / sum(increase(mailtap_auth_attempts_total{{{BOX}}}{RANGE}))'),
         "Share of attempts refused over the range shown. Above one half: guessing, or a password that changed under many "
         "phones; attempts per session on TLS and security tells which.",
         unit="percentunit", width=4, decimals=1, thresholds=steps(GREEN, (0.2, YELLOW), (0.5, RED))),
    stat("NO and BAD", query(f'sum(increase(mailtap_commands_total{{{IMAP}, status=~"no|bad"}}{RANGE})) / sum(increase(mailtap_commands_total{{{IMAP}}}{RANGE}))'),
         "Share of IMAP commands refused. NO: quotas, missing folders, failed logins. BAD: a client that breaks the grammar: "
         "the table of refused commands names the command.",
         unit="percentunit", width=4, decimals=1, thresholds=steps(GREEN, (0.05, YELLOW), (0.2, RED))),
    stat("-ERR", query(f'sum(increase(mailtap_commands_total{{{POP3}, status="err"}}{RANGE})) / sum(increase(mailtap_commands_total{{{POP3}}}{RANGE}))'),
         "Share of POP3 commands refused. Mostly failed logins and locked maildrops: two programs that poll one mailbox.",
         unit="percentunit", width=4, decimals=1, thresholds=steps(GREEN, (0.05, YELLOW), (0.2, RED))),
    Row("Authentication"),
    graph("Attempts by outcome", query(f"sum by (protocol, outcome) (rate(mailtap_auth_attempts_total{{{BOX}}}[@])) > 0", "{{protocol}} {{outcome}}"),
          "Logins a second. `failed` in numbers: guessing (runbook: AuthBruteForce). `temporary`: the server cannot reach its "
          "user database. `needs_tls`: clients to reconfigure.",
          unit="ops", width=8, stack=True, bars=True),
    table("Mechanisms", query(f"sort_desc(sum by (protocol, mechanism, outcome, tls) (increase(mailtap_auth_attempts_total{{{BOX}}}{RANGE})) > 0)"),
          "How users log in. Mechanisms in clear (PLAIN, LOGIN, login, user_pass with TLS `none`) should fade out: move those "
          "clients to TLS ports.",
          {"protocol": "Protocol", "mechanism": "Mechanism", "tls": "TLS", "outcome": "Outcome", "Value": "Count"},
          width=8, sort="Count", paint="Count", thresholds=steps(BLUE)),
    graph("Authentication time, p95", query(f"histogram_quantile(0.95, sum by (le, protocol, mechanism) (rate(mailtap_auth_seconds_bucket{{{BOX}}}[@])))", "{{protocol}} {{mechanism}}"),
          "Time of the server alone, the client's thinking left out. Around 2 s is the usual penalty for a wrong password; more "
          "is a slow directory.",
          unit="s", width=8),
    Row("IMAP"),
    graph("Commands", query(f"sum by (command) (rate(mailtap_commands_total{{{IMAP}}}[@])) > 0", "{{command}}"),
          "Commands a second. NOOP or STATUS without end: clients that poll because IDLE or NOTIFY is not offered to them.",
          unit="ops", width=8, stack=True),
    p95("FETCH, SEARCH and APPEND, p95", IMAP, "FETCH|UID FETCH|SEARCH|UID SEARCH|APPEND|SORT|UID SORT|THREAD|UID THREAD",
        "Service time of the heavy commands. SEARCH slow and FETCH fast: full-text index missing. All slow: disks. APPEND slow: "
        "quota recalculation or synchronous writes.", "command"),
    table("Refused commands", query(f'sort_desc(sum by (protocol, command, status) (increase(mailtap_commands_total{{{BOX}, status=~"no|bad|err|bye|none"}}{RANGE})) > 0)'),
          "Commands that were refused (`no`, `err`), not understood (`bad`), cut short (`bye`) or never answered (`none`). "
          "One command far ahead: one client program; the log's command records tell whose.",
          {"protocol": "Protocol", "command": "Command", "status": "Status", "Value": "Count"},
          width=8, sort="Count", paint="Count", thresholds=steps(BLUE, (100, ORANGE)),
          links=[sessions_link(protocol="${__data.fields.Protocol}")]),
    graph("Sessions in IDLE", query("sum by (listener) (mailtap_imap_idle_active{@l})", "{{listener}}"),
          "Clients that wait for new mail, by listener. A cliff: a restart, or a firewall that forgot its connections; clients "
          "come back at once and cost a login each.",
          width=8),
    graph("How long an IDLE lasts", quantiles("mailtap_imap_idle_seconds", "@l", shares=(0.5, 0.95)),
          "Clients renew IDLE every 9 to 29 minutes. A median of a few minutes: something between drops quiet connections; "
          "raise the idle timeout of firewalls and load balancers.",
          unit="s", width=8),
    graph("Untagged data of no command", query("sum by (reason) (rate(mailtap_imap_untagged_total{@l}[@]))", "{{reason}}"),
          "What servers tell on their own, mostly during IDLE. `bye`: the "
          "server closes: shutdown, or its inactivity limit.",
          unit="eps", width=8, stack=True),
    Row("Mail moved"),
    graph("Octets retrieved and appended", query(f"sum by (protocol, kind) (rate(mailtap_message_bytes_sum{{{BOX}}}[@]))", "{{protocol}} {{kind}}"),
          "Message octets a second. Retrieval far above delivery: clients fetch the same mail again, often after a UIDVALIDITY "
          "change or by POP3 without DELE.",
          unit="Bps", width=8, stack=True),
    graph("Messages by outcome", query(f"sum by (kind, outcome) (rate(mailtap_transactions_total{{{BOX}}}[@])) > 0", "{{kind}} {{outcome}}"),
          "Messages a second. `append error` in numbers: full quotas. `connection_lost` during retrieval: the path to mobile clients.",
          unit="mps", width=8, stack=True, bars=True),
    graph("Transfer, p95", query(f"histogram_quantile(0.95, sum by (le, protocol, kind) (rate(mailtap_transfer_seconds_bucket{{{BOX}}}[@])))", "{{protocol}} {{kind}}"),
          "Time of the octets of one message. Retrieval long: the client's line. Append long: the client's line upwards; it "
          "does not say anything about the server.",
          unit="s", width=8),
    Row("POP3"),
    graph("RETR, TOP and DELE", query(f'sum by (command) (rate(mailtap_commands_total{{{POP3}, command=~"RETR|TOP|DELE|UIDL|LIST"}}[@]))', "{{command}}"),
          "RETR without DELE: clients leave mail on the server and list it again each time; maildrops grow. TOP in numbers: "
          "preview clients.",
          unit="ops", width=8),
    p95("p95 by command", POP3, "USER|PASS|APOP|AUTH|STAT|LIST|UIDL|RETR|TOP|DELE|QUIT",
        "Service time. PASS slow: the user database or a maildrop lock. STAT, LIST, UIDL slow: large maildrops. QUIT slow: "
        "deletions are written.", "command"),
    heatmap("Session duration", "mailtap_session_duration_seconds", BOX,
            "How long sessions last. POP3 sits in the lowest rows, IMAP with IDLE in the highest. IMAP that moves down: "
            "connections are cut; look for a timeout in the middle.",
            width=8),
], protocols="imap|pop3")
