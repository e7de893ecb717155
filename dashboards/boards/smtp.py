"""SMTP and LMTP: how far sessions get, what servers answer, how long they take."""

from panels import (BLUE, GREEN, ORANGE, RED, YELLOW, Board, Row, bars, graph, heatmap, quantiles, query, sessions_link, steps,
                    table, variable)

MAIL = '@lp, protocol=~"smtp|lmtp"'
RANGE = "[$__range]"

BOARD = Board("mailtap-smtp", "mailtap: SMTP", __doc__, [
    Row("How far sessions get"),
    bars("Funnel", [
        query(f"sum(increase(mailtap_sessions_total{{{MAIL}}}{RANGE}))", "Sessions"),
        query(f'sum(increase(mailtap_commands_total{{{MAIL}, command=~"EHLO|HELO|LHLO", status="2xx"}}{RANGE}))', "EHLO or HELO"),
        query(f'sum(increase(mailtap_starttls_total{{{MAIL}, outcome="ok"}}{RANGE}))', "STARTTLS"),
        query(f'sum(increase(mailtap_auth_attempts_total{{{MAIL}, outcome="success"}}{RANGE}))', "Authenticated"),
        query(f'sum(increase(mailtap_commands_total{{{MAIL}, command="MAIL", status="2xx"}}{RANGE}))', "MAIL"),
        query(f'sum(increase(mailtap_recipients_total{{{MAIL}, status="2xx"}}{RANGE}))', "RCPT"),
        query(f'sum(increase(mailtap_commands_total{{{MAIL}, command="DATA", status="3xx"}}{RANGE})) + '
              f'sum(increase(mailtap_commands_total{{{MAIL}, command="BDAT"}}{RANGE}))', "DATA, or BDAT chunks"),
        query(f'sum(increase(mailtap_transactions_total{{{MAIL}, kind="delivery", outcome=~"accepted|partial"}}{RANGE}))', "Accepted messages"),
    ], "Steps that succeeded over the range shown. What TLS hides is not counted after STARTTLS. A step that is much "
       "shorter than the one above is where mail stops: look at the replies to that command below.", width=12, height=9),
    graph("Sessions ended by outcome and phase", query(f"sum by (outcome, phase) (rate(mailtap_sessions_ended_total{{{MAIL}}}[@])) > 0", "{{outcome}} in {{phase}}"),
          "Where sessions end. `client_gone in greeting`: clients that do not wait, often spam. `timeout in data`: a stalled "
          "path, often a wrong MTU. `server_shutdown`: restarts. `reset in tls`: certificates that clients refuse.",
          unit="cps", width=12, height=9, stack=True, bars=True, links=[sessions_link()]),
    Row("Replies"),
    graph("Replies by code", query(f'sum by (code) (rate(mailtap_smtp_replies_total{{{MAIL}, command!="greeting"}}[@])) > 0', "{{code}}"),
          "What servers say. 421 and 45x: they are busy or greylist; 452: out of space; 550 and 554 in numbers: a spam wave or "
          "a broken recipient list (runbook: MailDeferred, SmtpRejectSpike).",
          unit="ops", width=12, stack=True, bars=True),
    table("Refusals by enhanced status", query(f'sort_desc(sum by (enhanced) (increase(mailtap_smtp_enhanced_status_total{{{MAIL}, enhanced!~"2.*"}}{RANGE})) > 0)'),
          "Class and subject of refusals (RFC 3463) over the range shown. x.1 addresses, x.2 mailboxes, x.3 the server itself, "
          "x.4 routing, x.7 policy: tell the postmaster of that part.",
          {"enhanced": "Status", "Value": "Count"}, width=5, sort="Count", paint="Count", thresholds=steps(BLUE)),
    graph("Recipients by reply", query(f"sum by (status) (rate(mailtap_recipients_total{{{MAIL}}}[@]))", "{{status}}"),
          "RCPT replies. 4xx above a tenth: mail waits in the queues of others (runbook: MailDeferred). 5xx far above last "
          "week: addresses are being guessed, or a domain is no longer accepted here (runbook: SmtpRejectSpike).",
          unit="ops", width=7, stack=True, bars=True),
    graph("Replies at the greeting", query(f'sum by (code) (rate(mailtap_smtp_replies_total{{{MAIL}, command="greeting"}}[@])) > 0', "{{code}}"),
          "First reply of the server: 220 is welcome. 421: too many connections or a restart. 554: the client's address is "
          "refused outright; if that is a partner, ask why before mail expires.",
          unit="cps", width=8, stack=True, bars=True),
    graph("Named reasons", query(f"sum by (reason) (rate(mailtap_smtp_reply_reasons_total{{{MAIL}}}[@]))", "{{reason}}"),
          "Reply texts by the names in --reply-reasons (none given: no data, which is fine). A name that rises tells which list, "
          "quota or policy refuses: take that one up with whoever runs it.",
          unit="ops", width=8, stack=True, bars=True),
    graph("Commands and pipelining", [query(f"sum(rate(mailtap_commands_total{{{MAIL}}}[@]))", "commands"),
                                      query(f"sum(rate(mailtap_pipelined_commands_total{{{MAIL}}}[@]))", "pipelined"),
                                      query(f'sum(rate(mailtap_commands_total{{{MAIL}, command="OTHER"}}[@]))', "unknown commands")],
          "Commands a second, and how many came before the previous reply. Unknown commands that rise: a client that speaks "
          "another protocol (HTTP, for one) to a mail port; its sessions are in the log.",
          unit="ops", width=8),
    Row("Time"),
    heatmap("Command latency: $command", "mailtap_command_latency_seconds", f'{MAIL}, command=~"$command"',
            "Service time of the chosen commands: pipelined ones are charged from the previous reply. A second band far above "
            "the first is a look-up that times out (DNS, a policy service, a milter): choose commands one by one to find it.",
            width=12, height=9),
    graph("p95 by command", query(f'histogram_quantile(0.95, sum by (le, command) (rate(mailtap_command_latency_seconds_bucket{{{MAIL}, command=~"$command"}}[@])))', "{{command}}"),
          "The slowest twentieth by command. RCPT: recipient look-ups and greylisting. MAIL: sender policy. AUTH is on its own "
          "dashboard. `end_of_data`: content filters.",
          unit="s", width=12, height=9, log=True),
    graph("Reply to the end of data", quantiles("mailtap_command_latency_seconds", f'{MAIL}, command="end_of_data"'),
          "Time the server takes to accept a message it has in full: content filters and disks. Above 30 s clients begin to "
          "send twice (runbook: ContentFilterSlow).",
          unit="s", width=8, thresholds=steps(GREEN, (30, RED)), limit=True),
    graph("Transaction and transfer, p95", [
        *[{**each, "legend": "transaction"} for each in quantiles("mailtap_transaction_seconds", f'{MAIL}, kind="delivery"', shares=(0.95,))],
        *[{**each, "legend": "transfer"} for each in quantiles("mailtap_transfer_seconds", f'{MAIL}, kind="delivery"', shares=(0.95,))]],
          "From MAIL to the final reply, and the octets of the message alone. Transfer long: the path or the client. "
          "Transaction long and transfer short: the server.",
          unit="s", width=8),
    graph("Connect and greeting, p95", [
        *[{**each, "legend": "connect"} for each in quantiles("mailtap_connect_seconds", MAIL, shares=(0.95,))],
        *[{**each, "legend": "greeting"} for each in quantiles("mailtap_greeting_seconds", MAIL, shares=(0.95,))]],
          "Time to the TCP connection and on to the greeting. Connect above a round trip: a full listen queue. Greeting above "
          "5 s: the server looks its clients up (runbook: SlowGreeting).",
          unit="s", width=8),
    Row("Messages"),
    heatmap("Message size", "mailtap_message_bytes", f'{MAIL}, kind="delivery"',
            "Sizes after unstuffing, as the receiver stores them. A new band at one size is one message sent many times; at the "
            "top, attachments that belong elsewhere: compare with the size limit of the server.",
            unit="bytes", width=12),
    graph("Accepted recipients per delivery", quantiles("mailtap_accepted_recipients", MAIL, shares=(0.5, 0.95)),
          "How many recipients a message has. p95 that climbs on a submission listener is a mailing, or an account that was "
          "taken over: the log's top clients name it.",
          width=6),
    graph("Volume", query(f'sum by (listener) (rate(mailtap_message_bytes_sum{{{MAIL}, kind="delivery"}}[@]))', "{{listener}}"),
          "Message octets a second by listener. Far above the usual at the same number of messages: large attachments; check "
          "spool space behind the server.",
          unit="Bps", width=6),
    table("Extensions offered and used", [query(f"sum by (extension) (increase(mailtap_smtp_extensions_offered_total{{{MAIL}}}{RANGE}))"),
                                          query(f"sum by (extension) (increase(mailtap_smtp_extensions_used_total{{{MAIL}}}{RANGE}))")],
          "Sessions in which the server offered, and the client used, each extension. STARTTLS offered and not used: clients "
          "that should be asked to. An extension that vanished: a device that rewrites EHLO.",
          {"extension": "Extension", "Value #A": "Offered", "Value #B": "Used"}, width=8, sort="Offered"),
    graph("Slow tail: sessions", quantiles("mailtap_session_duration_seconds", MAIL),
          "How long SMTP sessions stay open. p99 at a timeout value (300 s, 600 s) is sessions that hang: see their phase above.",
          unit="s", width=8),
    graph("Recipients refused, share", [query(f'sum(rate(mailtap_recipients_total{{{MAIL}, status="5xx"}}[@])) / sum(rate(mailtap_recipients_total{{{MAIL}}}[@]))', "refused for good"),
                                        query(f'sum(rate(mailtap_recipients_total{{{MAIL}, status="4xx"}}[@])) / sum(rate(mailtap_recipients_total{{{MAIL}}}[@]))', "put off")],
          "Share of recipients refused and put off. A tenth put off for ten minutes fires MailDeferred: look at the codes, "
          "then at greylisting, quotas and the server's disk.",
          unit="percentunit", width=8, most=1, thresholds=steps(GREEN, (0.1, YELLOW)), limit=True),
], protocols="smtp|lmtp", more=[
    variable("command", "Command", 'label_values(mailtap_command_latency_seconds_count{instance=~"$instance", protocol=~"smtp|lmtp"}, command)'),
])
