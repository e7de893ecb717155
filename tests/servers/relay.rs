//! Spam that Postfix refuses when it comes directly is refused through mailtap too, in every set-up of the documentation;
//! and the set-up of which mailtap warns makes an open relay, so that the test shows something.
//!
//! Needs root and the packages of `samples/servers install`; without them each test says so and passes, unless
//! `MAILTAP_REQUIRE_SERVERS` is set.

use std::fs;

use crate::scripts;

/// Postfix with services of the documentation; `ask NAME HOST PORT` notes what it says to spam for others and to mail for a
/// user of its own.
const PRELUDE: &str = r#"
    conf=$MAIL_ROOT/conf
    postconf -c $conf -e 'default_transport = discard:'
    cat >$OUT/ask.py <<'ASK'
import smtplib, sys
with smtplib.SMTP(sys.argv[1], int(sys.argv[2]), timeout=20) as server:
    server.ehlo("bulk.example")
    server.mail("spam@bulk.example")
    print(*(server.rcpt(to)[0] for to in ("victim@elsewhere.example", "ann@example.org")))
ASK
    service() { postconf -c $conf -M "$1/inet=$1 inet n - n - - smtpd ${*:2}"; }
    await() { for port; do until [ -n "$(ss -Hltn "sport = :$port")" ]; do sleep 0.05; done; done; }
    ready() { until grep -qs 'note: listener' $OUT/err; do kill -0 $1; sleep 0.05; done; }
    ask() { echo "$1 $($SERVERS client python3 $OUT/ask.py $2 $3)" >>$OUT/answers; }
"#;

fn run(name: &str, script: &str) -> Option<(Vec<String>, String)> {
    if !scripts::available(name) {
        return None;
    }
    let folder = scripts::folder("relay", name);
    let output = scripts::run(&folder, 90, &format!("{PRELUDE}{script}"));
    let said = fs::read_to_string(folder.join("err")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stderr));
    let answers = fs::read_to_string(folder.join("answers")).unwrap();
    Some((answers.lines().map(str::to_owned).collect(), said))
}

/// Spam is refused, mail for a user is not.
const REFUSED: &str = "554 250";
const RELAYED: &str = "250 250";

#[test]
fn a_server_on_the_same_host_behind_a_listener() {
    let script = r#"
        postconf -c $conf -e 'mynetworks = 127.0.0.0/8, [::1]/128'
        service 10024
        service 10025 -o smtpd_upstream_proxy_protocol=haproxy
        service 10026 -o mynetworks=192.0.2.99
        postfix -c $conf reload
        await 10024 10025 10026
        cat >$OUT/proxy.toml <<'TOML'
[[listener]]
name = "trusted"
listen = ":2601"
upstream = "127.0.0.1:10024"
[[listener]]
name = "v2"
listen = ":2602"
upstream = "127.0.0.1:10025"
proxy-to = "v2"
[[listener]]
name = "v1"
listen = ":2603"
upstream = "localhost:10025"
proxy-to = "v1"
[[listener]]
name = "mynetworks"
listen = ":2604"
upstream = "127.0.0.1:10026"
TOML
        $MAILTAP proxy --config $OUT/proxy.toml --protocol smtp --log $OUT/log 2>$OUT/err &
        ready $!
        for server in 192.0.2.25 2001:db8::25; do
            ask direct $server 25
            ask trusted $server 2601
            ask v2 $server 2602
            ask v1 $server 2603
            ask mynetworks $server 2604
        done
    "#;
    let Some((answers, said)) = run("same_host", script) else { return };
    let expected = ["direct", "trusted", "v2", "v1", "mynetworks"].map(|name| {
        let answer = if name == "trusted" { RELAYED } else { REFUSED };
        format!("{name} {answer}")
    });
    assert_eq!(answers, [&expected[..], &expected[..]].concat());
    let warned: Vec<_> = said.lines().filter(|line| line.contains("warning: listener")).collect();
    assert!(warned.iter().any(|line| line.contains("listener trusted:") && line.contains("relay")), "{said}");
    assert!(!warned.iter().any(|line| line.contains("listener v1") || line.contains("listener v2")), "{said}");
}

#[test]
fn a_server_on_the_same_host_before_which_connections_are_redirected() {
    let script = r#"
        sed 's/"eth0"/"mx0"/' $SAMPLES/../deploy/nftables/redirect.nft >$OUT/redirect.nft
        intercept=$SAMPLES/../deploy/nftables/intercept
        $MAILTAP proxy --transparent redirect --listen :2525 --log $OUT/log 2>$OUT/err &
        ready $!
        # As mynetworks_style = host or subnet would have it, and as the documentation has it.
        for networks in '127.0.0.0/8, [::1]/128, 192.0.2.25, [2001:db8::25]' '127.0.0.0/8, [::1]/128'; do
            postconf -c $conf -e "mynetworks = $networks"
            postfix -c $conf reload
            sleep 1
            for server in 192.0.2.25 2001:db8::25; do
                ask direct $server 25
            done
            $intercept start $OUT/redirect.nft
            for server in 192.0.2.25 2001:db8::25; do
                ask redirected $server 25
            done
            $intercept stop
        done
    "#;
    let Some((answers, said)) = run("redirected", script) else { return };
    let of = |name: &str, answer: &str| [format!("{name} {answer}"), format!("{name} {answer}")];
    let expected =
        [of("direct", REFUSED), of("redirected", RELAYED), of("direct", REFUSED), of("redirected", REFUSED)].concat();
    assert_eq!(answers, expected);
    assert!(said.contains("warning: listener port-2525: servers see the address of this host"), "{said}");
}

/// mailtap on a router that the server trusts: `client` routes for a host outside.
#[test]
fn a_server_behind_a_router_that_it_trusts() {
    let script = r#"
        postconf -c $conf -e 'mynetworks = 127.0.0.0/8, [::1]/128, 192.0.2.0/24, [2001:db8::]/64'
        postfix -c $conf reload
        ip netns add outside
        ip -n client link add eth0 type veth peer name eth0 netns outside
        for host in client.1 outside.10; do
            ip -n ${host%.*} link set lo up
            ip -n ${host%.*} link set eth0 up
            ip -n ${host%.*} address add 203.0.113.${host#*.}/24 dev eth0
        done
        ip -n outside route add default via 203.0.113.1
        ip route add 203.0.113.0/24 via 192.0.2.10
        on_router() { ip netns exec client "$@"; }
        on_router sysctl -qw net.ipv4.ip_forward=1
        ask() { echo "$1 $(ip netns exec outside python3 $OUT/ask.py 192.0.2.25 25)" >>$OUT/answers; }
        sleep 1
        ask direct
        for flags in '--transparent tproxy' '--transparent tproxy --spoof-source'; do
            rm -f $OUT/err
            ip netns exec client $MAILTAP proxy $flags --listen :2525 --log $OUT/log 2>$OUT/err &
            proxy=$!
            ready $proxy
            on_router $SAMPLES/../deploy/nftables/intercept start $SAMPLES/../deploy/nftables/tproxy.nft
            ask "${flags##* }"
            on_router $SAMPLES/../deploy/nftables/intercept stop
            kill -KILL $proxy
            wait $proxy || :
        done
    "#;
    let Some((answers, said)) = run("routed", script) else { return };
    assert_eq!(answers, ["direct 554 250", "tproxy 250 250", "--spoof-source 554 250"]);
    assert!(!said.contains("warning: listener"), "none with --spoof-source: {said}");
}
