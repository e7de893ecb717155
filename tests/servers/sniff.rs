//! `mailtap sniff` beside real servers: live records against those of the packets it kept, signals, privileges, and
//! interfaces that come and go.
//!
//! Needs root and the packages of `samples/servers install`. Without them each test says so and passes, unless
//! `MAILTAP_REQUIRE_SERVERS` is set: then that is a failure.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::scripts;

#[test]
fn live_records_are_those_of_the_packets_kept() {
    let Some(run) = Run::new(
        "same",
        r#"
        sniff -i mx0 --user nobody --write $D/mail.pcapng --detail headers --threads 2
        talk() { $SERVERS client $SAMPLES/client.py $1 192.0.2.25 $2; }
        talk seed 24
        talk imap 143
        talk seed 24
        talk imap_compress 143
        talk smtp_pipelined 25
        talk smtp_bdat 25
        talk smtp_sasl 587
        talk lmtp 24
        talk imap_auth 143
        $SERVERS client swaks --silent 2 --tls --server 192.0.2.25 --from bob@example.net --to ann@example.org
        fetch() { $SERVERS client curl --insecure --silent --show-error --user ann:secret-of-ann "$@" >/dev/null; }
        fetch imaps://192.0.2.25/INBOX
        fetch pop3://192.0.2.25/2
        fetch --ssl-reqd pop3://192.0.2.25/1
        fetch "imap://[2001:db8::25]/INBOX"
        finish
        $MAILTAP analyze --quiet --records session,transaction,auth,anomaly --log $D/read.jsonl $D/mail.pcapng
        stat -c %a $D/mail.pcapng >$D/mode
        "#,
    ) else {
        return;
    };
    let (live, read) = (run.records("log"), run.records("read.jsonl"));
    let sessions = live.iter().filter(|r| r["record"] == "session");
    for record in sessions.clone() {
        assert_eq!((record["input"].as_str(), record["source"].as_str()), (Some("live"), Some("mx0")));
        assert_ne!(record["outcome"], "capture_end");
        assert_eq!((&record["gaps"]["client"], &record["gaps"]["server"]), (&0.into(), &0.into()));
    }
    assert!(sessions.count() >= 13, "{live:#?}");
    // Times and identifiers too: they are those of the packets.
    assert_same(sorted(&live), sorted(&read));
    assert_eq!(run.text("mode").trim(), "600", "passwords are in it");
    let said = run.text("err");
    assert!(said.contains("mail.pcapng: packets are kept as they are: passwords and mail are in it"), "{said}");
    assert!(said.contains("note: watching mx0: mail ports"), "{said}");
    assert!(said.contains("mx0: ") && said.contains(" packets (") && !said.contains("dropped"), "{said}");
}

#[test]
fn root_is_given_up() {
    let Some(run) = Run::new(
        "privileges",
        r#"
        sniff -i mx0 --user nobody
        cp /proc/$sniffer/status $D/mx0
        for thread in /proc/$sniffer/task/*; do cat $thread/status; done >$D/threads
        finish
        log=$D/log.any
        sniff -i any --user nobody
        cp /proc/$sniffer/status $D/any
        finish
        log=$D/log.root
        sniff -i mx0
        cp /proc/$sniffer/status $D/root
        finish
        "#,
    ) else {
        return;
    };
    // CAP_NET_RAW is bit 13: an interface that goes away is opened again. CAP_DAC_OVERRIDE is bit 1.
    for (name, uid, capabilities) in [("mx0", "65534", 1 << 13), ("any", "65534", 0), ("root", "0", 1 << 13 | 1 << 1)] {
        let status = run.text(name);
        let field = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(field("Uid"), [uid; 4].join(" "), "{name}");
        assert_eq!(
            (field("CapPrm"), field("CapEff")),
            (format!("{capabilities:016x}"), format!("{capabilities:016x}"))
        );
        for empty in ["CapBnd", "CapInh", "CapAmb"] {
            assert_eq!(field(empty), "0000000000000000", "{empty} of {name}");
        }
        assert_eq!(field("NoNewPrivs"), "1", "{name}");
    }
    let threads = run.text("threads");
    let of = |line: &str| threads.lines().filter(|l| l.starts_with(line)).count();
    assert!(of("Name:") >= 4, "{threads}");
    assert_eq!(of("CapPrm:\t0000000000002000"), of("Name:"), "{threads}");
}

#[test]
fn what_is_open_at_the_end_is_told() {
    let Some(run) = Run::new(
        "open",
        r#"
        sniff -i mx0 --user nobody
        coproc TALK { $SERVERS client bash -c 'exec 3<>/dev/tcp/192.0.2.25/25; head -n 1 <&3; printf "EHLO client.example.net\r\n" >&3; head -n 1 <&3; read -r forever'; }
        read -r _ <&"${TALK[0]}"
        read -r _ <&"${TALK[0]}"
        before=$(date +%s%N)
        open=yes finish
        echo $((($(date +%s%N) - before) / 1000000)) >$D/milliseconds
        kill $TALK_PID
        "#,
    ) else {
        return;
    };
    let log = run.records("log");
    let session = log.iter().find(|r| r["record"] == "session").unwrap();
    assert_eq!(session["outcome"], "capture_end");
    assert_eq!(session["helo"], "client.example.net");
    let milliseconds: u64 = run.text("milliseconds").trim().parse().unwrap();
    assert!(milliseconds < 3000, "{milliseconds} ms");
}

#[test]
fn sighup_opens_the_files_again() {
    let Some(run) = Run::new(
        "reopen",
        r#"
        echo "filter = 'tcp port 110'" >$D/config
        sniff -i mx0 --user nobody --write $D/mail.pcapng --config $D/config
        $SERVERS client $SAMPLES/client.py seed 192.0.2.25 24
        fetch() { $SERVERS client curl --silent --show-error --user ann:secret-of-ann "$@" >/dev/null; }
        lines() { until [ "$(wc -l <$1)" -ge $2 ]; do sleep 0.05; done; }
        fetch pop3://192.0.2.25/
        fetch imap://192.0.2.25/INBOX
        lines $D/log 1
        mv $D/log $D/log.old
        echo "filter = 'tcp port 143'" >$D/config
        kill -HUP $sniffer
        until [ -e $D/log ] && [ -e $D/mail.1.pcapng ]; do sleep 0.05; done
        # The filter is looked for between packets.
        sleep 1.5
        fetch pop3://192.0.2.25/
        fetch imap://192.0.2.25/INBOX
        lines $D/log 1
        echo "filter = 'nonsense'" >$D/config
        kill -HUP $sniffer
        until grep -q 'stays as it was' $D/err; do sleep 0.05; done
        finish
        for file in $D/mail.pcapng $D/mail.1.pcapng $D/mail.2.pcapng; do
            $MAILTAP analyze --quiet --log - $file
        done >$D/read.jsonl
        "#,
    ) else {
        return;
    };
    let protocols = |name: &str| {
        let records = run.records(name);
        let sessions = records.iter().filter(|r| r["record"] == "session");
        sessions.map(|r| r["protocol"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(protocols("log.old"), ["pop3"]);
    assert_eq!(protocols("log"), ["imap"]);
    let mut kept = protocols("read.jsonl");
    kept.sort();
    assert_eq!(kept, ["imap", "pop3"]);
    let said = run.text("err");
    assert!(said.contains("mx0: the filter `nonsense` cannot be used: "), "{said}");
}

#[test]
fn an_interface_comes_and_goes() {
    let Some(run) = Run::new(
        "comes-and-goes",
        r#"
        up() {
            ip link add va address 02:00:00:00:01:25 type veth peer name vb address 02:00:00:00:01:10 netns client
            ip address add 198.51.100.25/24 dev va
            ip link set va up
            ip -n client address add 198.51.100.10/24 dev vb
            ip -n client link set vb up
        }
        fetch() { $SERVERS client curl --silent --show-error --user ann:secret-of-ann pop3://198.51.100.25/ >/dev/null; }
        told() { until [ "$(grep -c "$1" $D/err)" -ge $2 ]; do sleep 0.05; done; }
        up
        sniff -i va --user nobody
        fetch
        ip link set va down
        told 'va: is down' 1
        ip link set va up
        told 'va: is back' 1
        fetch
        ip link delete va
        told 'waiting for the interface' 2
        up
        told 'va: is back' 2
        fetch
        finish
        "#,
    ) else {
        return;
    };
    let log = run.records("log");
    let outcomes: Vec<_> = log.iter().filter(|r| r["record"] == "session").map(|r| r["outcome"].clone()).collect();
    assert_eq!(outcomes, ["ok", "ok", "ok"]);
    let said = run.text("err");
    assert_eq!(said.matches("waiting for the interface").count(), 2, "{said}");
    assert!(said.contains("2 times gone"), "{said}");
}

#[test]
fn several_interfaces_and_all_of_them_are_watched() {
    let Some(run) = Run::new(
        "interfaces",
        r#"
        both() {
            $SERVERS client curl --silent --show-error --user ann:secret-of-ann pop3://192.0.2.25/ >/dev/null
            curl --silent --show-error --user ann:secret-of-ann pop3://127.0.0.1/ >/dev/null
        }
        sniff -i mx0 -i lo --user nobody
        both
        finish
        log=$D/log.any
        sniff -i any --user nobody
        both
        finish
        "#,
    ) else {
        return;
    };
    for (name, sources) in [("log", ["lo", "mx0"]), ("log.any", ["any", "any"])] {
        let records = run.records(name);
        let sessions: Vec<_> = records.iter().filter(|r| r["record"] == "session").collect();
        let mut found: Vec<_> = sessions.iter().map(|r| r["source"].as_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, sources, "{name}");
        assert!(sessions.iter().all(|r| r["outcome"] == "ok" && r["gaps"]["server"] == 0), "{sessions:#?}");
    }
}

#[test]
fn metrics_and_readiness_are_served_from_inside_the_sandbox() {
    let Some(run) = Run::new(
        "metrics",
        r#"
        sniff -i mx0 --user nobody --metrics-listen 127.0.0.1:9325
        get() { curl --silent --fail http://127.0.0.1:9325/$1; }
        $SERVERS client curl --silent --show-error --user ann:secret-of-ann pop3://192.0.2.25/ >/dev/null
        until get readyz >/dev/null; do sleep 0.05; done
        until get metrics | grep -q '^mailtap_capture_packets_total{listener="mx0"} [1-9]'; do sleep 0.05; done
        until get metrics | grep -q '^mailtap_sessions_ended_total{.*protocol="pop3".* 1$'; do sleep 0.05; done
        get metrics >$D/metrics
        get "" >$D/page
        finish
        "#,
    ) else {
        return;
    };
    let metrics = run.text("metrics");
    for reason in ["kernel", "interface", "queue", "snaplen", "decode"] {
        let line = format!("mailtap_capture_dropped_packets_total{{listener=\"mx0\",reason=\"{reason}\"}} 0");
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
    assert!(run.text("page").contains("<html"));
    assert!(run.text("err").contains("metrics and the page are at 127.0.0.1:9325"), "{}", run.text("err"));
}

#[test]
fn tagged_frames_pass_the_default_filter() {
    let Some(run) = Run::new(
        "tagged",
        r#"
        sniff -i mx0 --user nobody
        for sample in smtp-vlan smtp-qinq; do
            $SERVERS client tcpreplay --quiet --topspeed --intf1=client0 $SAMPLES/$sample.pcap >/dev/null
        done
        finish
        $MAILTAP analyze --quiet --log $D/read.jsonl $SAMPLES/smtp-vlan.pcap $SAMPLES/smtp-qinq.pcap
        "#,
    ) else {
        return;
    };
    let facts = |name: &str| {
        let records = run.records(name);
        let sessions = records.iter().filter(|r| r["record"] == "session");
        let mut facts: Vec<_> =
            sessions.map(|r| [&r["client"], &r["outcome"], &r["bytes"], &r["counts"]].map(Value::to_string)).collect();
        facts.sort();
        facts
    };
    assert!(facts("log").len() >= 2);
    assert_eq!(facts("log"), facts("read.jsonl"));
}

#[test]
fn records_go_to_standard_output_until_nobody_reads() {
    let Some(run) = Run::new(
        "output",
        r#"
        mkfifo $D/ready
        ($MAILTAP sniff -i mx0 2>$D/err; echo $? >$D/status) | head -n 1 >$D/out &
        until grep -qs watching $D/err; do sleep 0.05; done
        $SERVERS client curl --silent --user ann:secret-of-ann pop3://192.0.2.25/ >/dev/null
        wait
        "#,
    ) else {
        return;
    };
    let first: Value = serde_json::from_str(&run.text("out")).unwrap();
    assert_eq!(first["protocol"], "pop3");
    assert_eq!(run.text("status").trim(), "0");
    assert!(!run.text("err").contains("error"), "{}", run.text("err"));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let Some(run) = Run::new(
        "refused",
        r#"
        try() { "$@" >>$D/out 2>>$D/err && status=0 || status=$?; echo $status >>$D/status; }
        try $MAILTAP sniff -i mx0 'tcp port smtp and'
        try $MAILTAP sniff -i no-such0
        try $MAILTAP sniff -i mx0 --user no-such-user
        try setpriv --reuid=65534 --clear-groups --bounding-set=-all --inh-caps=-all $MAILTAP sniff -i mx0
        try $MAILTAP sniff -i mx0 --user nobody --log /no/such/folder/log
        try $MAILTAP sniff -i mx0 --write $D
        ip link add down0 type veth peer name down1
        try $MAILTAP sniff -i down0
        try $MAILTAP sniff --list-interfaces
        "#,
    ) else {
        return;
    };
    let said = run.text("err");
    let expected = [
        ("2", "mx0: the filter `tcp port smtp and` cannot be used: "),
        ("1", "no-such0: there is no such interface; see `mailtap sniff --list-interfaces`"),
        ("2", "--user no-such-user: there is no such user; "),
        ("1", "mx0: capturing takes root or the capability cap_net_raw; "),
        ("1", "cannot open the log /no/such/folder/log"),
        ("1", "the packets cannot be written: is there already, and is no file; "),
        ("1", "down0: the interface is down; bring it up with `ip link set down0 up`"),
    ];
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, (_, text)) in lines.iter().zip(expected) {
        assert!(line.starts_with("mailtap: error: ") && line.contains(text), "{text} in\n{line}");
    }
    let statuses = expected.map(|(status, _)| status);
    assert_eq!(run.text("status").split_whitespace().collect::<Vec<_>>(), [&statuses[..], &["0"]].concat());
    let listed = run.text("out");
    assert!(listed.contains("mx0") && listed.contains("192.0.2.25") && listed.contains("any"), "{listed}");
}

/// Records without what must differ, in an order that does not depend on threads.
fn sorted(records: &[Value]) -> Vec<String> {
    let mut lines = records.to_vec();
    for record in lines.iter_mut().filter_map(Value::as_object_mut) {
        record.remove("input");
        record.remove("source");
    }
    let mut lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

fn assert_same(left: Vec<String>, right: Vec<String>) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(left, right);
    }
}

/// One scenario and the files it left.
struct Run {
    folder: PathBuf,
}

/// What every scenario begins with: the sniffer starts in the background, and ends when asked.
const BEFORE: &str = r#"
    D=$MAIL_ROOT/sniff
    mkdir -m 777 $D
    trap 'cp -r $D/. $OUT; kill -KILL ${sniffer-} 2>/dev/null || true' EXIT
    log=$D/log
    sniff() {
        : >$D/err
        $MAILTAP sniff --log $log "$@" 2>>$D/err & sniffer=$!
        until grep -q 'note: watching' $D/err; do kill -0 $sniffer; sleep 0.02; done
    }
    finish() {
        # ErrorKind was sent last lies in the kernel for a moment.
        sleep 0.1
        kill -TERM $sniffer
        wait $sniffer
    }
"#;

impl Run {
    /// Runs `scenario` beside the servers; `None` where that cannot be.
    fn new(name: &str, scenario: &str) -> Option<Self> {
        if !scripts::available(name) {
            return None;
        }
        let folder = scripts::folder("sniff", name);
        let output = scripts::run(&folder, 120, &[BEFORE, scenario].concat());
        let said = fs::read_to_string(folder.join("err")).unwrap_or_default();
        assert!(output.status.success(), "{name}: {}\n{said}", String::from_utf8_lossy(&output.stderr));
        Some(Self { folder })
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap()
    }

    fn records(&self, name: &str) -> Vec<Value> {
        let log = self.text(name);
        assert!(!log.contains("secret-of-ann"), "a secret in the log:\n{log}");
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
