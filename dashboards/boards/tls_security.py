"""TLS and security: how well sessions are protected, and who tries to get around it."""

from panels import (BLUE, GREEN, ORANGE, RED, YELLOW, Board, Row, bars, graph, heatmap, quantiles, query, sessions_link, stat,
                    steps, table)

RANGE = "[$__range]"


def count(text):
    return query(f"sum(increase({text}{RANGE}))")


def seen(title, pattern, about, outcome="", width=4, worst=RED):
    more = f', outcome=~"{outcome}"' if outcome else ""
    return stat(title, count(f'mailtap_anomalies_total{{@lp, anomaly=~"{pattern}"{more}}}'), about, width=width,
                thresholds=steps(GREEN, (1, worst)), decimals=0, none="0")


BOARD = Board("mailtap-security", "mailtap: TLS and security", __doc__, [
    Row("Over the range shown"),
    seen("Smuggling attempts", "smtp.smuggling",
         "Messages hidden behind a false end of data. Attempts alone are scans; see whether any was accepted (next panel), and "
         "who sent them in the log.", worst=YELLOW),
    seen("Smuggling accepted", "smtp.smuggling",
         "The server took the hidden message: it reads a false end of data as a true one. Must be 0. Update or configure it "
         "now, e.g. Postfix `smtpd_forbid_bare_newline` (runbook: SmugglingAccepted).", outcome="accepted"),
    seen("STARTTLS stripped or masked", "(smtp|pop3|imap)[.]starttls_stripped|smtp[.]capability_masked|imap[.]preauth_downgrade",
         "Something removed or masked the offer of TLS. Must be 0: find the device between client and server, often a firewall "
         "with mail inspection (runbook: StarttlsTampering)."),
    seen("STARTTLS injection", "starttls[.](command|response)_injection",
         "Plain octets behind STARTTLS, to be read inside the encrypted session. Must be 0: a client or server under attack, "
         "or a very broken client (runbook: StarttlsTampering).", width=3),
    seen("Passwords in clear", "auth[.]cleartext",
         "Logins with a password outside TLS. Anyone on the path has read it: move the client to TLS and change the password "
         "(runbook: CleartextAuth).", worst=ORANGE, width=3),
    stat("Certificate expires in", query("min(mailtap_tls_certificate_not_after_timestamp_seconds{@lp} - time())"),
         "The first certificate to expire among those seen (TLS 1.2 and older, or TLS that mailtap itself answers). Below two "
         "weeks: renew, and see why the automatic renewal did not (runbook: CertificateExpiry).",
         unit="s", width=3, thresholds=steps(RED, (7 * 86400, ORANGE), (14 * 86400, YELLOW), (30 * 86400, GREEN)), decimals=0),
    stat("Expired certificates", query("sum(mailtap_tls_certificates_expired{@l})"),
         "Certificates that mailtap answers TLS with and whose time is over. Above 0: renew them and send SIGHUP; clients that check "
         "certificates do not connect (runbook: CertificateExpired).", width=3, thresholds=steps(GREEN, (1, RED)), decimals=0),
    Row("TLS"),
    graph("Handshakes by version", query("sum by (protocol, version) (rate(mailtap_tls_handshakes_total{@lp}[@])) > 0", "{{protocol}} {{version}}"),
          "TLSv1.2 and TLSv1.3 are good. Older: the log's session records name the clients; give them a date, then switch the "
          "old versions off (runbook: LegacyTls).",
          unit="cps", width=8, stack=True),
    graph("STARTTLS by outcome", query("sum by (outcome) (rate(mailtap_starttls_total{@lp}[@]))", "{{outcome}}"),
          "`handshake_failed`: certificate or version trouble. `refused`: the server offers what it cannot do. `not_offered` "
          "where it was offered before: tampering, or a lost configuration.",
          unit="cps", width=8, stack=True, bars=True),
    graph("Handshakes by outcome", query("sum by (tls, outcome) (rate(mailtap_tls_handshakes_total{@lp}[@]))", "{{tls}} {{outcome}}"),
          "Failed handshakes: expired or unknown certificate, no common version or cipher. Many from one address: a scanner, "
          "harmless. From many: renew or fix the certificate.",
          unit="cps", width=8, stack=True, bars=True),
    table("Ciphers", query(f"sort_desc(sum by (protocol, cipher) (increase(mailtap_tls_ciphers_total{{@lp}}{RANGE})) > 0)"),
          "Suites that were agreed on. CBC, RC4 and 3DES names should not be here: drop them from the server's list.",
          {"protocol": "Protocol", "cipher": "Cipher", "Value": "Sessions"}, width=10, widths={"Cipher": 360}, sort="Sessions", paint="Sessions", thresholds=steps(BLUE)),
    graph("Handshake time", quantiles("mailtap_tls_handshake_seconds", "@lp"),
          "ClientHello to the first application data. A median above two round trips and 50 ms: the server is short of CPU, or "
          "of entropy.",
          unit="s", width=7),
    table("Certificates", query("sort(min by (listener, protocol) (mailtap_tls_certificate_not_after_timestamp_seconds{@lp} - time()))"),
          "Time left of the certificate last seen on each listener. Red: renew now.",
          {"listener": "Listener", "protocol": "Protocol", "Value": "Expires in"}, unit="s", width=7,
          paint="Expires in", thresholds=steps(RED, (7 * 86400, ORANGE), (14 * 86400, YELLOW), (30 * 86400, GREEN))),
    Row("Authentication"),
    graph("Attempts by encryption", query("sum by (tls, outcome) (rate(mailtap_auth_attempts_total{@lp}[@])) > 0", "{{tls}} {{outcome}}"),
          "Logins by state of the session. `none success` is a password anyone on the path has read (runbook: CleartextAuth). "
          "`none needs_tls` is the server doing its duty.",
          unit="ops", width=8, stack=True, bars=True),
    graph("Failures by mechanism", query('sum by (protocol, mechanism) (rate(mailtap_auth_attempts_total{@lp, outcome="failed"}[@])) > 0', "{{protocol}} {{mechanism}}"),
          "Refused logins. One mechanism only, steady, at night: a guessing programme; rate-limit its addresses at the server "
          "or with --max-rate (runbook: AuthBruteForce).",
          unit="ops", width=8, stack=True, bars=True, links=[sessions_link(protocol="${__field.labels.protocol}")]),
    heatmap("Attempts per session", "mailtap_auth_attempts_per_session", "@lp",
            "People need one or two attempts. A band at 3 or more is guessing, or a client that stores an old password: lower "
            "the server's limit of attempts per connection.",
            unit="short", width=8),
    graph("Failures of the busiest network", query("max by (protocol) (mailtap_auth_failures_busiest_network{@i})", "{{protocol}}"),
          "Failed logins in the last five minutes from the client network (/24, /64) that has most of them. Far above its usual level: that "
          "network guesses, however many others log in well (runbook: AuthBruteForceNetwork).",
          width=12, thresholds=steps(GREEN, (60, ORANGE)), limit=True),
    graph("Networks with failures", query("max by (protocol) (mailtap_auth_failures_networks{@i})", "{{protocol}}"),
          "Client networks with failed logins in the last five minutes. Far above its usual level: guessing from everywhere, or the user "
          "database refuses everybody (runbook: AuthBruteForceSpread).",
          width=12, thresholds=steps(GREEN, (30, ORANGE)), limit=True),
    Row("Anomalies"),
    table("Anomalies by listener", query(f"sort_desc(sum by (listener, protocol, anomaly, outcome) (increase(mailtap_anomalies_total{{@lp}}{RANGE})) > 0)"),
          "All kinds, with where and how it was settled. `accepted` and `unresolved` first: their records in the log hold the "
          "offset and the octets.",
          {"listener": "Listener", "protocol": "Protocol", "anomaly": "Anomaly", "outcome": "Outcome", "Value": "Count"}, width=12,
          height=9, widths={"Anomaly": 210}, sort="Count", paint="Count", thresholds=steps(BLUE, (100, ORANGE)),
          links=[sessions_link(protocol="${__data.fields.Protocol}")]),
    graph("Anomalies", query("sum by (anomaly) (rate(mailtap_anomalies_total{@lp}[@])) > 0", "{{anomaly}}"),
          "When they came. A burst is one client; a level that stays is a population of bad software: decide whether the "
          "server should refuse it.",
          unit="eps", width=12, height=9, stack=True, bars=True),
    graph("Line anomalies", query("sum by (direction, reason) (rate(mailtap_line_anomalies_total{@lp}[@]))", "{{direction}} {{reason}}"),
          "Bare LF and CR, NUL, lines over the limit. Bare LF from clients is what smuggling is made of: servers should refuse "
          "or normalise it. From servers: a broken store.",
          unit="eps", width=12, stack=True),
    graph("Enforcement", query("sum by (reason) (rate(mailtap_enforcements_total{@lp}[@]))", "{{reason}}"),
          "What the proxy blocked or closed, where it is told to. More than the attempts above: the rule is too wide, look at "
          "the sessions it closed.",
          unit="eps", width=12, stack=True, bars=True),
])
