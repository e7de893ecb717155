//! Dovecot with its default settings behind a proxy that answers TLS: it takes passwords only under TLS, of which it learns by
//! PROXY headers.

use std::fs;

use serde_json::Value;

use crate::scripts;

#[test]
fn dovecot_takes_passwords_of_clients_whose_tls_it_is_told_of() {
    if !scripts::available("told") {
        return;
    }
    let folder = scripts::folder("told", "dovecot");
    let output = scripts::run(&folder, 120, SCENARIO);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = fs::read_to_string(folder.join("told.log")).unwrap();
    assert!(!log.contains("secret-of-ann"), "a secret in the log:\n{log}");
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let logins = records.iter().filter(|record| record["record"] == "auth" && record["outcome"] == "success").count();
    assert_eq!(logins, 12);
    let refused = records.iter().filter(|record| record["record"] == "auth" && record["outcome"] != "success").count();
    assert_eq!(refused, 4);
}

/// A second Dovecot beside that of `samples/servers`, at an address that is not the proxy's own: it trusts connections from its
/// own address whatever they carry.
const SCENARIO: &str = r#"
tls=$MAIL_ROOT/tls
ca=$tls/ca.pem
cat >"$OUT/dovecot.conf" <<CONF
base_dir = $MAIL_ROOT/strict
state_dir = $MAIL_ROOT/strict-state
instance_name = strict
log_path = $OUT/dovecot-strict.log
protocols = imap pop3
listen = 127.0.0.3
first_valid_uid = 1
mail_location = maildir:~/Maildir
postmaster_address = postmaster@example.org
haproxy_trusted_networks = 127.0.0.0/8
ssl = yes
ssl_cert = <$tls/cert.pem
ssl_key = <$tls/key.pem
passdb {
  driver = passwd-file
  args = $MAIL_ROOT/conf/users
}
userdb {
  driver = passwd-file
  args = $MAIL_ROOT/conf/users
  default_fields = uid=mail gid=mail
}
service imap-login {
  inet_listener imap {
    port = 2143
    haproxy = yes
  }
  inet_listener imaps {
    port = 2993
    ssl = yes
    haproxy = yes
  }
}
service pop3-login {
  inet_listener pop3 {
    port = 2110
    haproxy = yes
  }
  inet_listener pop3s {
    port = 2995
    ssl = yes
    haproxy = yes
  }
}
CONF
[ "$(doveconf -h -c "$OUT/dovecot.conf" disable_plaintext_auth)" = yes ]
dovecot -c "$OUT/dovecot.conf"
cat >"$OUT/told.toml" <<TOML
proxy-to = "v2"
tls-cert = "$tls/cert.pem"
tls-key = "$tls/key.pem"
upstream-ca = "$ca"
upstream-name = "mx.example.org"
TOML
port=5000
for protocol in imap pop3; do
  for how in implicit starttls; do
    for upstream in none starttls implicit; do
      case $protocol.$upstream in
        imap.implicit) server=2993;; imap.*) server=2143;; pop3.implicit) server=2995;; *) server=2110;;
      esac
      port=$((port + 1))
      printf '[[listener]]\nname = "%s-%s-%s"\nlisten = ":%s"\nupstream = "127.0.0.3:%s"\nprotocol = "%s"\ntls = "%s"\nupstream-tls = "%s"\n' \
        $protocol $how $upstream $port $server $protocol $how $upstream >>"$OUT/told.toml"
    done
  done
done
"$MAILTAP" proxy --config "$OUT/told.toml" --log "$OUT/told.log" 2>"$OUT/told.err" & told=$!
until [ "$(grep -c 'note: listener' "$OUT/told.err")" = 12 ]; do kill -0 $told || { cat "$OUT/told.err"; exit 1; }; sleep 0.05; done
python3 - $ca <<'PY'
import imaplib, poplib, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
host, port = "mx.example.org", 5000
def refused(login):
    try:
        login()
    except (imaplib.IMAP4.error, poplib.error_proto):
        return
    raise SystemExit("a password in clear was taken")
for protocol in ["imap", "pop3"]:
    for how in ["implicit", "starttls"]:
        for upstream in ["none", "starttls", "implicit"]:
            port += 1
            if protocol == "imap":
                if how == "implicit":
                    client = imaplib.IMAP4_SSL(host, port, ssl_context=context)
                else:
                    if upstream != "implicit":
                        refused(lambda: imaplib.IMAP4(host, port).login("ann", "secret-of-ann"))
                    client = imaplib.IMAP4(host, port)
                    client.starttls(context)
                assert client.login("ann", "secret-of-ann")[0] == "OK"
                client.logout()
            else:
                if how == "implicit":
                    client = poplib.POP3_SSL(host, port, context=context)
                else:
                    if upstream != "implicit":
                        clear = poplib.POP3(host, port)
                        refused(lambda: (clear.user("ann"), clear.pass_("secret-of-ann")))
                    client = poplib.POP3(host, port)
                    client.stls(context)
                client.user("ann")
                client.pass_("secret-of-ann")
                client.quit()
PY
kill $told; wait $told || true
doveadm -c "$OUT/dovecot.conf" stop
"#;
