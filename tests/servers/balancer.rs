//! HAProxy, mailtap and servers that tell each other the client by PROXY headers.

use std::fs;

use serde_json::Value;

use crate::scripts;

/// HAProxy before mailtap, mailtap before Postfix and Dovecot, all of them telling each other the client.
#[test]
fn balancer_and_servers_understand_each_other() {
    const NAME: &str = "balancer_and_servers_understand_each_other";
    if !scripts::available(NAME) {
        return;
    }
    let folder = scripts::folder("balancer", NAME);
    let script = r#"
        await() { until [ -n "$(ss -Hltn "sport = :$1")" ]; do sleep 0.05; done; }
        # The servers, once more, with ports that want a header.
        cat >>$MAIL_ROOT/conf/master.cf <<'CONF'
2525 inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy -o syslog_name=postfix/behind
CONF
        kill -HUP $(cat $MAIL_ROOT/queue/pid/master.pid); await 2525
        cat >>$MAIL_ROOT/conf/dovecot.conf <<'CONF'
haproxy_trusted_networks = 127.0.0.0/8 192.0.2.0/24
service imap-login {
  inet_listener behind {
    port = 2143
    haproxy = yes
  }
}
CONF
        doveadm -c $MAIL_ROOT/conf/dovecot.conf reload; await 2143
        cat >$OUT/haproxy.cfg <<'CONF'
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
CONF
        proxies=()
        for v in 1 2; do
            other=$((3 - v))
            $MAILTAP proxy --log $OUT/v$v.jsonl --proxy-from 192.0.2.0/24 --proxy-to v$other \
                --listen 192.0.2.25:${v}3525 --upstream 192.0.2.25:2525 --listen 192.0.2.25:${v}3143 --upstream 192.0.2.25:2143 2>$OUT/v$v.err &
            proxies+=($!)
            send=send-proxy; [ $v = 1 ] || send='send-proxy-v2 proxy-v2-options crc32c,unique-id'
            for port in 525 143; do
                printf 'listen v%s-%s\n  bind 192.0.2.25:%s4%s\n  unique-id-format %%{+X}o%%ci:%%cp\n  server s 192.0.2.25:%s3%s %s\n' \
                    $v $port $v $port $v $port "$send" >>$OUT/haproxy.cfg
                await ${v}3$port
            done
        done
        haproxy -f $OUT/haproxy.cfg -db 2>$OUT/haproxy.err & await 14525; await 24143
        for v in 1 2; do
            $SERVERS client swaks --silent 2 --server 192.0.2.25:${v}4525 --from bob@example.net --to ann@example.org
            $SERVERS client curl --silent --show-error --user ann:secret-of-ann imap://192.0.2.25:${v}4143/INBOX >$OUT/list
        done
        kill -TERM ${proxies[@]}
        wait ${proxies[@]}
        cp $MAIL_ROOT/log/*.log $OUT
    "#;
    let output = scripts::run(&folder, 60, script);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let postfix = fs::read_to_string(folder.join("postfix.log")).unwrap();
    assert_eq!(postfix.matches("client=client.example.net[192.0.2.10]").count(), 2, "{postfix}");
    let dovecot = fs::read_to_string(folder.join("dovecot.log")).unwrap();
    let logins = dovecot.lines().filter(|line| line.contains("Login: user=<ann>") && line.contains("rip=192.0.2.10"));
    assert_eq!(logins.count(), 2, "{dovecot}");
    for version in ["v1.jsonl", "v2.jsonl"] {
        let log = fs::read_to_string(folder.join(version)).unwrap();
        let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let sessions: Vec<_> = records.filter(|record| record["record"] == "session").collect();
        assert_eq!(sessions.len(), 2, "{log}");
        for session in sessions {
            assert_eq!(session["proxied_client"]["ip"], "192.0.2.10", "{session}");
            assert_eq!(session["outcome"], "ok", "{session}");
        }
    }
}
