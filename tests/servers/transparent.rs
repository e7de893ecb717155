//! mailtap on a router between a client and a server that do not know of it: REDIRECT and TPROXY, IPv4 and IPv6.
//!
//! Each test runs again as the router in namespaces of its own (`network`), with the rules of `deploy/nftables`.
//! Needs `unshare`, `ip` and `nft`. Without them each test says so and passes, unless `MAILTAP_REQUIRE_SERVERS` is set: then
//! that is a failure.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use tempfile::TempDir;

use crate::scripts;

const PATIENCE: Duration = Duration::from_secs(20);

/// Client, router's side towards the server, server.
pub(crate) const V4: [&str; 3] = ["192.0.2.10", "198.51.100.1", "198.51.100.25"];
pub(crate) const V6: [&str; 3] = ["2001:db8:1::10", "2001:db8:2::1", "2001:db8:2::25"];

/// Defines the test `$name`, which runs its body as the router.
macro_rules! router {
    ($(#[$doc:meta])* $name:ident $body:block) => {
        $(#[$doc])*
        mod $name {
            use super::*;

            #[test]
            fn through_the_router() {
                on_a_router(module_path!());
            }

            #[test]
            #[ignore = "run by through_the_router, in namespaces of its own"]
            fn on_the_router() $body
        }
    };
}

pub(crate) use router;

router!(redirected_connections_reach_the_server_that_was_meant {
    let server = Server::new();
    let direct = server.open_before();
    let proxy = Proxy::start(&["--transparent", "redirect"]);
    let rules = Rules::load("redirect.nft");
    for addresses in [V4, V6] {
        let mut open = server.talk(addresses);
        assert_eq!(open.seen.ip(), ip(addresses[1]), "the server sees the router");
        open.transfer();
        proxy.assert_session(addresses, open);
    }
    server.reuses_a_port(V4[1]);
    direct.into_iter().for_each(|mut open| open.transfer());
    rules.pause_and_stop(&server, &proxy);
});

router!(caught_connections_reach_the_server_that_was_meant {
    let server = Server::new();
    let direct = server.open_before();
    let proxy = Proxy::start(&["--transparent", "tproxy"]);
    let rules = Rules::load("tproxy.nft");
    for addresses in [V4, V6] {
        let mut open = server.talk(addresses);
        assert_eq!(open.seen.ip(), ip(addresses[1]), "the server sees the router");
        open.transfer();
        proxy.assert_session(addresses, open);
    }
    server.reuses_a_port(V4[1]);
    direct.into_iter().for_each(|mut open| open.transfer());
    rules.pause_and_stop(&server, &proxy);
});

router!(a_server_sees_the_clients_address {
    let server = Server::new();
    // Connection tracking on, as on most routers, and what it finds invalid dropped.
    nft("table inet firewall { chain forward { type filter hook forward priority 0; ct state invalid drop; }
         chain input { type filter hook input priority 0; ct state invalid drop; }
         chain output { type filter hook output priority 0; ct state invalid drop; }; }");
    let proxy = Proxy::start(&["--transparent", "tproxy", "--spoof-source"]);
    let rules = Rules::load("tproxy.nft");
    for addresses in [V4, V6] {
        let many: Vec<_> = (0..5).map(|_| server.talk(addresses)).collect();
        for mut open in many {
            assert_eq!(open.seen.ip(), ip(addresses[0]), "the server sees the client");
            assert_ne!(open.seen.port(), open.client.local_addr().unwrap().port());
            open.transfer();
            proxy.assert_session(addresses, open);
        }
    }
    server.reuses_a_port(V4[0]);
    rules.pause_and_stop(&server, &proxy);
});

router!(a_connection_for_mailtap_itself_is_refused {
    let _server = Server::new();
    for (how, rules) in [("redirect", "redirect.nft"), ("tproxy", "tproxy.nft")] {
        let mut proxy = Proxy::start(&["--transparent", how]);
        let _rules = Rules::load(rules);
        for router in ["192.0.2.1", "2001:db8:1::1", "198.51.100.1"] {
            let mut client = at("client", || TcpStream::connect((router, 2525)).unwrap());
            assert_closed(&mut client);
        }
        let said = proxy.end();
        assert!(said.contains("a loop"), "{said}");
    }
});

router!(a_loop_ends_at_once {
    let server = Server::new();
    // The host's own connections are redirected, and nobody exempts mailtap's.
    nft("table inet loop { chain output { type nat hook output priority -100; tcp dport 25 redirect to :2525; }; }");
    let mut proxy = Proxy::start(&["--transparent", "redirect", "--mark", "0"]);
    for address in [V4[2], V6[2]] {
        let mut own = TcpStream::connect((address, 25)).unwrap();
        assert_closed(&mut own);
    }
    let said = proxy.end();
    let loops = said.matches("a loop").count();
    assert!((2..=8).contains(&loops), "{loops} times: {said}");
    // With the mark, connections of the host itself pass.
    nft("flush chain inet loop output; add rule inet loop output meta mark 0x6d74 accept
         add rule inet loop output tcp dport 25 redirect to :2525");
    let proxy = Proxy::start(&["--transparent", "redirect"]);
    for addresses in [V4, V6] {
        let client = TcpStream::connect((addresses[2], 25)).unwrap();
        let mut open = server.open(client);
        open.transfer();
        proxy.assert_session([addresses[1], addresses[1], addresses[2]], open);
    }
});

router!(a_router_routes_on_when_mailtap_is_killed {
    let server = Server::new();
    let mut proxy = Proxy::start(&["--transparent", "tproxy", "--spoof-source"]);
    let _rules = Rules::load("tproxy.nft");
    let mut open = server.talk(V4);
    open.transfer();
    proxy.child.kill().unwrap();
    proxy.child.wait().unwrap();
    assert_closed(&mut open.client);
    for addresses in [V4, V6] {
        assert_eq!(server.talk(addresses).seen.ip(), ip(addresses[0]), "the rules are there still, mail flows");
    }
});

router!(one_capability_is_enough {
    let server = Server::new();
    let flags = ["--transparent", "tproxy", "--spoof-source"];
    let proxy = Proxy::with_capability("net_raw", &flags).unwrap();
    let _rules = Rules::load("tproxy.nft");
    for addresses in [V4, V6] {
        let mut open = server.talk(addresses);
        assert_eq!(open.seen.ip(), ip(addresses[0]));
        open.transfer();
        proxy.assert_session(addresses, open);
    }
    drop(proxy);
    let without = Proxy::with_capability("net_bind_service", &flags).unwrap_err();
    assert!(without.contains("Operation not permitted") && without.contains("CAP_NET_RAW: see deploy/systemd"), "{without}");
    let without = Proxy::with_capability("net_bind_service", &["--transparent", "redirect"]).unwrap_err();
    assert!(without.contains("cannot mark connections to the server"), "{without}");
    assert!(Proxy::with_capability("net_bind_service", &["--transparent", "redirect", "--mark", "0"]).is_ok());
});

router!(a_server_that_is_down_looks_down {
    let proxy = Proxy::start(&["--transparent", "tproxy", "--spoof-source"]);
    let _rules = Rules::load("tproxy.nft");
    for addresses in [V4, V6] {
        let mut client = at("client", || TcpStream::connect((addresses[2], 25)).unwrap());
        let own = client.local_addr().unwrap();
        assert_closed(&mut client);
        let records = proxy.sessions(own);
        assert!(records.iter().all(|record| record["server"]["ip"] == addresses[2]), "{records:?}");
    }
});

/// A mail server and mailtap on one host: what clients send there is redirected, what mailtap sends there is not.
#[test]
fn a_mail_server_on_the_same_host_needs_no_change() {
    const NAME: &str = "a_mail_server_on_the_same_host_needs_no_change";
    if !scripts::available(NAME) {
        return;
    }
    let folder = scripts::folder("transparent", NAME);
    let script = r#"
        DEPLOY=$SAMPLES/../deploy/nftables
        sed 's/"eth0"/"mx0"/' $DEPLOY/redirect.nft >$OUT/redirect.nft
        $MAILTAP proxy --transparent redirect --listen :2525 --log $OUT/log 2>$OUT/err &
        proxy=$!
        until grep -qs 'note: listener' $OUT/err; do kill -0 $proxy; sleep 0.05; done
        $DEPLOY/intercept start $OUT/redirect.nft
        printf 'Subject: Same host\r\n\r\nHello\r\n' >$OUT/message
        for server in 192.0.2.25 [2001:db8::25]; do
            curl() { $SERVERS client curl --silent --show-error "$@" >>$OUT/curl; }
            curl smtp://$server/client.example.net --upload-file $OUT/message --mail-from bob@example.net --mail-rcpt ann@example.org
            until ls $MAIL_ROOT/mail/ann/Maildir/*/* >$OUT/mail 2>&1; do sleep 0.05; done
            curl --user ann:secret-of-ann "imap://$server/INBOX;MAILINDEX=1"
            curl --user ann:secret-of-ann "pop3://$server/1"
        done
        kill -TERM $proxy
        wait $proxy
        $DEPLOY/intercept stop
        $SERVERS client swaks --silent 2 --server 192.0.2.25 --from bob@example.net --to ann@example.org
    "#;
    let output = scripts::run(&folder, 60, script);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = fs::read_to_string(folder.join("log")).unwrap();
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sessions: Vec<_> = records.iter().filter(|record| record["record"] == "session").collect();
    for server in ["192.0.2.25", "2001:db8::25"] {
        for (port, protocol) in [(25, "smtp"), (110, "pop3"), (143, "imap")] {
            let is_it = |record: &&&Value| record["server"]["ip"] == server && record["server"]["port"] == port;
            let found: Vec<_> = sessions.iter().filter(is_it).collect();
            assert_eq!(found.len(), 1, "{server} {port}: {log}");
            assert_eq!((&found[0]["protocol"], &found[0]["outcome"]), (&protocol.into(), &"ok".into()), "{log}");
        }
    }
    assert_eq!(sessions.len(), 6, "the last one passed by: {log}");
}

/// Runs the ignored test `on_the_router` of `module` as the router.
pub(crate) fn on_a_router(module: &str) {
    let (_, module) = module.split_once("::").unwrap();
    let name = &format!("{module}::on_the_router");
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/network");
    if let Err(reason) = can_run(&network) {
        assert!(std::env::var_os("MAILTAP_REQUIRE_SERVERS").is_none(), "{reason}");
        eprintln!("SKIPPED {name}: {reason}");
        return;
    }
    let output = Command::new(network)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", name])
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn can_run(network: &Path) -> Result<(), String> {
    for tool in ["unshare", "ip", "nft", "setpriv"] {
        if Command::new(tool).arg("--version").output().is_err() {
            return Err(format!("run `samples/servers install`; there is no `{tool}`"));
        }
    }
    let output = Command::new(network).arg("true").output().map_err(|error| error.to_string())?;
    let why = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("no network namespaces here: {why}"))
}

/// What `act` gives on the host `host`; sockets stay there.
pub(crate) fn at<T: Send>(host: &str, act: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(Path::new("/run/netns").join(host)).unwrap();
    thread::scope(|scope| {
        let moved = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        });
        moved.join().unwrap()
    })
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

pub(crate) fn assert_closed(stream: &mut TcpStream) {
    patient(stream);
    match stream.read(&mut [0; 100]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

pub(crate) fn nft(rules: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{rules}");
}

/// The mail server.
pub(crate) struct Server(pub(crate) TcpListener);

/// A connection with both its ends, and whom the server sees.
pub(crate) struct Open {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
    pub(crate) seen: SocketAddr,
}

impl Server {
    pub(crate) fn new() -> Self {
        let listener = at("server", || TcpListener::bind("[::]:25").unwrap());
        // Also the longest wait for a connection (SO_RCVTIMEO).
        socket2::SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        Self(listener)
    }

    /// A connection of the client.
    pub(crate) fn talk(&self, [_, _, server]: [&str; 3]) -> Open {
        self.open(at("client", || TcpStream::connect((server, 25)).unwrap()))
    }

    /// Connections from before there were rules.
    fn open_before(&self) -> [Open; 2] {
        [V4, V6].map(|addresses| {
            let open = self.talk(addresses);
            assert_eq!(open.seen, open.client.local_addr().unwrap(), "without rules they are routed");
            open
        })
    }

    /// A client uses its port again at once, as it may where the server closed first.
    fn reuses_a_port(&self, expected: &str) {
        let mut port = 0;
        for _ in 0..3 {
            let client = at("client", || {
                let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
                socket.set_reuse_address(true).unwrap();
                socket.bind(&SocketAddr::new(ip(V4[0]), port).into()).unwrap();
                socket.connect(&SocketAddr::new(ip(V4[2]), 25).into()).unwrap();
                TcpStream::from(socket)
            });
            port = client.local_addr().unwrap().port();
            let mut open = self.open(client);
            assert_eq!(open.seen.ip(), ip(expected));
            drop(open.server);
            assert_closed(&mut open.client);
        }
    }

    /// Greets the `client` that has connected.
    pub(crate) fn open(&self, mut client: TcpStream) -> Open {
        let (mut server, seen) = self.0.accept().unwrap();
        patient(&client);
        patient(&server);
        server.write_all(b"220 mx.example.org ESMTP\r\n").unwrap();
        let mut greeting = [0; 26];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 mx.example.org ESMTP\r\n");
        Open { client, server, seen: SocketAddr::new(seen.ip().to_canonical(), seen.port()) }
    }
}

impl Open {
    /// Sends many octets and gets them back, all in order.
    pub(crate) fn transfer(&mut self) {
        let octets: Vec<u8> = (0..1 << 18).map(|at: u32| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        for up in [true, false] {
            let (mut from, to) = if up { (&self.client, &mut self.server) } else { (&self.server, &mut self.client) };
            thread::scope(|scope| {
                scope.spawn(|| from.write_all(&octets).unwrap());
                let mut came = vec![0; octets.len()];
                to.read_exact(&mut came).unwrap();
                assert!(came == octets);
            });
        }
    }
}

/// The rules of `deploy/nftables`, taken away at the end.
pub(crate) struct Rules {
    folder: TempDir,
    file: String,
}

impl Rules {
    pub(crate) fn load(file: &str) -> Self {
        let text = fs::read_to_string(deploy().join(file)).unwrap();
        let own = text.replace(r#"define clients = { "eth0" }"#, r#"define clients = { "client0" }"#);
        assert_ne!(own, text);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file), own).unwrap();
        let rules = Self { folder, file: file.to_owned() };
        rules.start_again();
        rules
    }

    /// Loads them, whether they hold or not.
    pub(crate) fn start_again(&self) {
        intercept(&["start", self.folder.path().join(&self.file).to_str().unwrap()]);
    }

    /// New connections pass mailtap by, the old ones do not notice, and nothing is left in the end.
    fn pause_and_stop(self, server: &Server, proxy: &Proxy) {
        let mut open = [V4, V6].map(|addresses| (server.talk(addresses), addresses));
        intercept(&["pause"]);
        for (old, addresses) in &mut open {
            let new = server.talk(*addresses);
            assert_eq!(new.seen, new.client.local_addr().unwrap(), "a new one is routed");
            old.transfer();
        }
        for (old, addresses) in open {
            proxy.assert_session(addresses, old);
        }
        drop(self);
        let left = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert!(!left("nft", &["list", "ruleset"]).contains("mailtap"));
        for family in ["-4", "-6"] {
            assert!(!left("ip", &[family, "rule"]).contains("fwmark"));
            assert_eq!(left("ip", &[family, "route", "show", "table", "28021"]), "");
        }
        for addresses in [V4, V6] {
            let mut new = server.talk(addresses);
            assert_eq!(new.seen, new.client.local_addr().unwrap());
            new.transfer();
        }
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        intercept(&["stop"]);
        intercept(&["stop"]);
    }
}

pub(crate) fn intercept(arguments: &[&str]) {
    let output = Command::new(deploy().join("intercept")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nftables")
}

/// mailtap on the router, at port 2525.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    stderr: BufReader<ChildStderr>,
    folder: TempDir,
}

impl Proxy {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_mailtap")), flags).unwrap()
    }

    /// One that may do nothing but that; or what it says.
    fn with_capability(one: &str, flags: &[&str]) -> Result<Self, String> {
        let mut command = Command::new("setpriv");
        command.args([
            "--no-new-privs",
            "--bounding-set",
            &format!("-all,+{one}"),
            "--inh-caps",
            &format!("-all,+{one}"),
        ]);
        command.arg(env!("CARGO_BIN_EXE_mailtap"));
        Self::spawn(command, flags)
    }

    fn spawn(mut command: Command, flags: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let mut child = command
            .args(["proxy", "--listen", ":2525", "--log"])
            .arg(folder.path().join("log"))
            .args(flags)
            .env("MAILTAP_LOG", "mailtap=warn")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("note: listener") {
            if stderr.read_line(&mut said).unwrap() == 0 {
                child.wait().unwrap();
                return Err(said);
            }
        }
        Ok(Self { child, stderr, folder })
    }

    /// The records of sessions from `client`, once there are any.
    pub(crate) fn sessions(&self, client: SocketAddr) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(self.folder.path().join("log")).unwrap();
            let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let records: Vec<Value> = whole.map(|line| serde_json::from_str(line).unwrap()).collect();
            let is_it = |record: &&Value| {
                record["record"] == "session"
                    && record["client"]["ip"] == client.ip().to_string()
                    && record["client"]["port"] == client.port()
            };
            let found: Vec<_> = records.iter().filter(is_it).cloned().collect();
            if !found.is_empty() {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "no session of {client} in {text}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Once it has ended, the connection is in the log, under the addresses that client and server know.
    pub(crate) fn assert_session(&self, [client, _, server]: [&str; 3], open: Open) {
        let port = open.client.local_addr().unwrap().port();
        drop(open);
        for record in self.sessions(SocketAddr::new(ip(client), port)) {
            assert_eq!(record["server"]["ip"], server, "{record}");
            assert_eq!(record["server"]["port"], 25);
        }
    }

    /// Ends it; what it said.
    pub(crate) fn end(&mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
