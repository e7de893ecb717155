//! Names and addresses of servers, on a router with a network of its own: which address is dialled, and from which.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::transparent::{Proxy, Rules, Server, V4, V6, assert_closed, at, ip, on_a_router, router};

router!(a_client_of_another_family_than_the_server_is_refused {
    let server = Server::new();
    let flags = ["--upstream", "198.51.100.25:25", "--protocol", "smtp", "--spoof-source", "--mark", "0x6d74"];
    let mut proxy = Proxy::start(&flags);
    let _rules = Rules::load("tproxy.nft");
    let open = server.open(at("client", || TcpStream::connect(("192.0.2.1", 2525)).unwrap()));
    assert_eq!(open.seen.ip(), ip(V4[0]), "the server sees the client");
    drop(open);
    let mut client = at("client", || TcpStream::connect(("2001:db8:1::1", 2525)).unwrap());
    let own = client.local_addr().unwrap();
    assert_closed(&mut client);
    let session = &proxy.sessions(own)[0];
    assert_eq!(session["upstream"], serde_json::json!({"error": "spoof_family"}), "{session}");
    assert_eq!(session["protocol"], "smtp");
    server.0.set_nonblocking(true).unwrap();
    assert!(server.0.accept().is_err(), "nobody came from the router's own address");
    let said = proxy.end();
    assert!(said.contains("2001:db8:1::10 was turned away"), "{said}");
});

router!(of_a_servers_addresses_the_one_of_the_clients_family_is_dialled {
    let server = Server::new();
    let _hosts = Hosts::new("2001:db8:2::25 mx.example.org\n198.51.100.25 mx.example.org\n");
    let flags = ["--upstream", "mx.example.org:25", "--protocol", "smtp", "--spoof-source", "--mark", "0x6d74"];
    let _proxy = Proxy::start(&flags);
    let _rules = Rules::load("tproxy.nft");
    for (router, addresses) in [("192.0.2.1", V4), ("2001:db8:1::1", V6)] {
        let open = server.open(at("client", || TcpStream::connect((router, 2525)).unwrap()));
        assert_eq!(open.seen.ip(), ip(addresses[0]), "the server sees the client");
    }
});

router!(an_address_that_does_not_answer_delays_nobody_for_long {
    let server = Server::new();
    // A host that is gone: packets to it are lost.
    let arguments = ["-6", "neigh", "add", "2001:db8:2::99", "lladdr", "02:00:00:00:00:99", "dev", "server0"];
    assert!(Command::new("ip").args(arguments).status().unwrap().success());
    let _hosts = Hosts::new("2001:db8:2::99 mx.example.org\n198.51.100.25 mx.example.org\n");
    let proxy = Proxy::start(&["--upstream", "mx.example.org:25", "--protocol", "smtp"]);
    for soon in [Duration::from_millis(2500), Duration::from_millis(200)] {
        let client = at("client", || TcpStream::connect(("192.0.2.1", 2525)).unwrap());
        let own = client.local_addr().unwrap();
        drop(server.open(client));
        let session = &proxy.sessions(own)[0];
        assert_eq!(session["upstream"]["ip"], "198.51.100.25", "{session}");
        let connect = session["upstream"]["connect"].as_f64().unwrap();
        assert!(connect < soon.as_secs_f64(), "the next one goes to the address that answered: {session}");
    }
});

router!(a_name_that_comes_to_be_known_is_found {
    let server = Server::new();
    let hosts = Hosts::new("127.0.0.1 localhost\n");
    let mut proxy = Proxy::start(&["--upstream", "mx.example.org:25", "--protocol", "smtp"]);
    let connect = || at("client", || TcpStream::connect(("192.0.2.1", 2525)).unwrap());
    let mut client = connect();
    let own = client.local_addr().unwrap();
    assert_closed(&mut client);
    assert_eq!(proxy.sessions(own)[0]["upstream"]["error"], "unresolved");
    hosts.write("198.51.100.25 mx.example.org\n");
    server.0.set_nonblocking(true).unwrap();
    let began = Instant::now();
    while {
        let _client = connect();
        thread::sleep(Duration::from_millis(100));
        server.0.accept().is_err()
    } {
        assert!(began.elapsed() < Duration::from_secs(15), "it is not found");
    }
    let said = proxy.end();
    assert!(said.contains("mx.example.org cannot be reached: its name has no address"), "{said}");
});

/// `/etc/hosts` of this name space, and no other source of names.
struct Hosts(TempDir);

impl Hosts {
    fn new(text: &str) -> Self {
        let hosts = Self(tempfile::tempdir().unwrap());
        hosts.write(text);
        fs::write(hosts.0.path().join("nsswitch.conf"), "hosts: files\npasswd: files\ngroup: files\n").unwrap();
        for file in ["hosts", "nsswitch.conf"] {
            let mut mount = Command::new("mount");
            let status = mount.arg("--bind").arg(hosts.0.path().join(file)).arg(format!("/etc/{file}")).status();
            assert!(status.unwrap().success());
        }
        hosts
    }

    fn write(&self, text: &str) {
        fs::write(self.0.path().join("hosts"), text).unwrap();
    }
}
