//! The command line from outside: usage, odd input, outputs that fail, threads that do not matter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use assert_cmd::Command;
use tempfile::TempDir;

fn mailtap(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("mailtap").unwrap();
    command.args(args).env_remove("MAILTAP_LOG").output().unwrap()
}

/// Exit status, standard output, standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = mailtap(args);
    (status.code().expect("ended by itself"), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A capture of `packets` packets that are ARP by their type and nothing by their content.
fn capture(packets: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for field in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        out.extend(field.to_le_bytes());
    }
    for second in 0..packets {
        for field in [second, 0, 60, 60] {
            out.extend(field.to_le_bytes());
        }
        out.extend([0; 12]);
        out.extend([8, 6]);
        out.extend([0; 46]);
    }
    out
}

/// A directory with a file `name` of `octets` in it.
fn with(name: &str, octets: &[u8]) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, octets).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(octets).unwrap();
    out.finish().unwrap()
}

/// The sample captures of the project, whatever there is.
fn samples() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut captures = entries.filter(|p| p.to_str().is_some_and(|p| p.contains(".pcap"))).collect::<Vec<_>>();
    captures.sort();
    captures
}

mod usage {
    use super::*;

    #[test]
    fn help_goes_to_standard_output_and_tells_the_exit_status() {
        let (status, out, err) = run(&["analyze", "--help"]);
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(out.contains("Examples:") && out.contains("Exit status:"), "{out}");
        assert!(out.lines().all(|l| l.chars().count() <= 100), "{out}");
        assert_eq!(run(&["--version"]).0, 0);
    }

    #[test]
    fn wrong_usage_is_status_two() {
        let (_dir, file) = with("a.pcap", &capture(1));
        for args in [
            &[][..],
            &["analyze"],
            &["analyse", &file],
            &["analyze", &file, "--records", "sessions"],
            &["analyze", &file, "--detail", "all"],
            &["analyze", &file, "--threads", "0"],
            &["analyze", &file, "--port-map", "25"],
            &["analyze", &file, "--identity", "hmac"],
            &["analyze", "-", "-"],
            &["analyze", &file, "--config", "/nonexistent/c.toml"],
            &["analyze", &file, "--log", &file],
        ] {
            let (status, out, err) = run(args);
            assert_eq!((status, out.as_str()), (2, ""), "{args:?} {err}");
            assert!(!err.is_empty(), "{args:?}");
        }
        assert_eq!(fs::read(&file).unwrap(), capture(1), "a capture is no log");
    }

    #[test]
    fn a_configuration_file_is_read_and_its_errors_name_the_line() {
        let (dir, file) = with("a.pcap", &capture(1));
        let config = dir.path().join("c.toml");
        let config = config.to_str().unwrap();
        fs::write(config, "quiet = true\n").unwrap();
        assert_eq!(run(&["analyze", &file, "--config", config]), (0, String::new(), String::new()));
        fs::write(config, "quiet = true\nrecord = 'auth'\n").unwrap();
        let (status, _, err) = run(&["analyze", &file, "--config", config]);
        assert_eq!(status, 2);
        assert!(err.starts_with(&format!("mailtap: error: {config}, line 2: unknown key `record`")), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }

    #[test]
    fn the_schema_is_json() {
        let (status, out, err) = run(&["schema"]);
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap().is_object());
    }
}

mod odd_input {
    use super::*;

    /// `octets` give this exit status and one line that names the file and begins like this.
    #[track_caller]
    fn check(octets: &[u8], status: i32, level: &str, start: &str) {
        let (_dir, file) = with("odd.pcap", octets);
        for threads in ["1", "2"] {
            let (got, out, err) = run(&["analyze", &file, "--threads", threads]);
            assert_eq!(got, status, "{err}");
            assert_eq!(err.lines().count(), 1, "{err}");
            assert!(err.starts_with(&format!("mailtap: {level}: {file}: {start}")), "{err}");
            // What holds no packet at all needs no summary beside its error; what was read before damage has one.
            let nothing =
                ["is empty", "holds nothing", "is not a", "ends at octet 20,"].iter().any(|w| start.starts_with(w));
            assert!(!out.is_empty() || nothing, "the summary of what there is");
        }
    }

    #[test]
    fn no_file_and_a_directory() {
        let (status, _, err) = run(&["analyze", "/nonexistent/a.pcap"]);
        assert_eq!(status, 1);
        assert!(
            err.starts_with("mailtap: error: /nonexistent/a.pcap: cannot be opened: No such file or directory; "),
            "{err}"
        );
        let (status, _, err) = run(&["analyze", env!("CARGO_MANIFEST_DIR")]);
        assert_eq!(status, 1);
        assert!(err.contains(": is a directory; "), "{err}");
    }

    #[test]
    fn an_empty_file_and_an_empty_gz() {
        check(b"", 1, "error", "is empty; ");
        check(&gzip(b""), 1, "error", "holds nothing once decompressed (gzip); ");
    }

    #[test]
    fn a_text_file_and_random_octets() {
        check(
            b"Received: from mx\r\n",
            1,
            "error",
            "is not a pcap or pcapng capture (first octets 52 65 63 65 69 76 65 64); it looks like text",
        );
        let noise = (0..4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8 | 0x80).collect::<Vec<_>>();
        check(&noise, 1, "error", "is not a pcap or pcapng capture (first octets");
    }

    #[test]
    fn a_capture_without_mail_is_fine() {
        let (_dir, file) = with("arp.pcap", &capture(10));
        let (status, out, err) = run(&["analyze", &file]);
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(!out.is_empty());
        let (_dir, file) = with("none.pcap", &capture(0));
        assert_eq!(run(&["analyze", &file, "--quiet"]), (0, String::new(), String::new()));
    }

    #[test]
    fn cut_in_a_header_and_in_a_packet() {
        let whole = capture(3);
        check(&whole[..20], 1, "error", "ends at octet 20, inside the file header (20 of 24 octets); ");
        check(&whole[..24 + 76 + 7], 0, "warning", "ends at octet 107, inside a record header (7 octets of it); ");
        check(&whole[..24 + 76 + 50], 0, "warning", "ends at octet 150, inside a record (50 of 76 octets); ");
        let gz = gzip(&whole);
        check(&gz[..gz.len() - 9], 0, "warning", "the compressed file ends too early");
    }

    #[test]
    fn damage_in_the_middle_goes_on_to_the_next_file() {
        let mut bad = capture(3);
        bad[24 + 76 + 11] = 0x7f;
        check(
            &bad,
            1,
            "error",
            "is damaged at octet 100: a packet record claims 2130706492 octets where 262144 are possible; ",
        );
        let (_one, bad) = with("bad.pcap", &bad);
        let (_two, good) = with("good.pcap", &capture(2));
        let (status, out, _) = run(&["analyze", &bad, &good]);
        assert_eq!(status, 1);
        assert!(!out.is_empty());
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        let (status, _, err) = run(&["analyze", "/nonexistent/\x1b[31m\n.pcap"]);
        assert_eq!((status, err.lines().count()), (1, 1));
        assert!(err.contains("\\u{1b}[31m\\n.pcap"), "{err}");
    }

    #[test]
    fn standard_input_may_be_compressed() {
        let mut command = Command::cargo_bin("mailtap").unwrap();
        let output = command.args(["analyze", "-", "--quiet"]).write_stdin(gzip(&capture(5))).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let mut command = Command::cargo_bin("mailtap").unwrap();
        let output = command.args(["analyze", "-"]).write_stdin("text").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stderr.starts_with(b"mailtap: error: standard input: is not a pcap"), "{output:?}");
    }
}

mod outputs {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_opened_is_told_before_anything_is_read() {
        let (status, out, err) = run(&["analyze", "/nonexistent/a.pcap", "--log", "/nonexistent/mail.jsonl"]);
        assert_eq!((status, out.as_str()), (1, ""));
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains("/nonexistent/mail.jsonl") && err.contains("No such file or directory"), "{err}");
        assert!(err.contains("nothing was read"), "{err}");
    }

    #[test]
    fn a_closed_pipe_is_quiet() {
        let (_dir, file) = with("a.pcap", &capture(3));
        for args in [&["analyze", &file][..], &["schema"], &["analyze", "--help"]] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("mailtap"));
            let output =
                command.args(args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
            assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
        }
    }

    #[test]
    fn a_full_disk_is_told() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let Ok(full) = full else { return };
        let (_dir, file) = with("a.pcap", &capture(3));
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("mailtap"));
        let output = command
            .args(["analyze", &file])
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            err.starts_with("mailtap: error: standard output cannot be written: No space left on device; "),
            "{err}"
        );
    }

    #[test]
    fn a_full_disk_under_the_log_is_told_with_its_name() {
        if !Path::new("/dev/full").exists() {
            return;
        }
        for sample in samples() {
            let file = sample.to_str().unwrap();
            if run(&["analyze", file, "--log", "-", "--quiet"]).1.is_empty() {
                continue;
            }
            let (status, out, err) = run(&["analyze", file, "--log", "/dev/full"]);
            assert_eq!((status, out.as_str()), (1, ""), "{file}");
            assert!(err.contains("/dev/full after 0 octets: No space left on device"), "{err}");
            return;
        }
    }

    #[test]
    fn the_log_is_appended_to() {
        let (dir, file) = with("a.pcap", &capture(3));
        let log = dir.path().join("log");
        fs::write(&log, "{\"record\":\"x\"}\n").unwrap();
        let (status, out, _) = run(&["analyze", &file, "--log", log.to_str().unwrap()]);
        assert_eq!(status, 0);
        assert!(!out.is_empty(), "the summary");
        assert!(fs::read_to_string(&log).unwrap().starts_with("{\"record\":\"x\"}\n"));
    }

    #[test]
    fn the_summary_makes_way_for_the_log() {
        let (_dir, file) = with("a.pcap", &capture(3));
        let (status, out, err) = run(&["analyze", &file, "--log", "-"]);
        assert_eq!((status, out.as_str()), (0, ""));
        assert!(!err.is_empty());
        assert_eq!(run(&["analyze", &file, "--log", "-", "--quiet"]), (0, String::new(), String::new()));
    }

    #[test]
    fn verbose_speaks_on_standard_error() {
        let (_dir, file) = with("a.pcap", &capture(3));
        let (status, out, err) = run(&["analyze", &file, "-v"]);
        assert_eq!(status, 0);
        assert!(err.contains("packets=3") && !out.contains("packets=3"), "{err}");
    }
}

mod threads {
    use super::*;

    #[test]
    fn the_log_and_the_summary_are_the_same_for_any_number() {
        let samples = samples();
        let names = samples.iter().map(|p| p.to_str().unwrap()).collect::<Vec<_>>();
        let mut runs = names.iter().map(|n| vec![*n]).collect::<Vec<_>>();
        if !names.is_empty() {
            runs.push(names);
        }
        for files in runs {
            let of = |threads| run(&[&["analyze", "--log", "-", "--threads", threads][..], &files].concat());
            let expected = of("1");
            assert_eq!(expected.0, 0, "{files:?} {}", expected.2);
            for threads in ["2", "3", "16"] {
                assert!(of(threads) == expected, "{files:?} with {threads} threads");
            }
        }
    }
}

mod check {
    use super::*;

    /// Exit status and standard error of `mailtap MODE --check --config FILE`, with `text` in FILE and DIR for its folder.
    fn check(mode: &str, text: &str) -> (i32, String) {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("c.toml");
        fs::write(&config, text.replace("DIR", dir.path().to_str().unwrap())).unwrap();
        let before = fs::read_dir(dir.path()).unwrap().count();
        let (status, out, err) = run(&[mode, "--check", "--config", config.to_str().unwrap()]);
        assert_eq!(out, "");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before, "a check makes no file");
        (status, err.replace(dir.path().to_str().unwrap(), "DIR"))
    }

    #[test]
    fn a_right_configuration_opens_nothing() {
        // The port is taken: a check does not mind.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let text = format!(
            "log = 'DIR/mail.jsonl'\nmetrics-listen = '{address}'\nhandover = 'DIR/handover'\n\
             [[listener]]\nname = 'mx'\nlisten = '{address}'\nupstream = '192.0.2.1:25'\n"
        );
        let (status, err) = check("proxy", &text);
        assert_eq!((status, err.as_str()), (0, "mailtap: note: the configuration is right: listeners mx\n"));
        assert_eq!(check("proxy", &format!("quiet = true\n{text}")), (0, String::new()));
        let (status, err) = check("sniff", "interface = 'lo'\nfilter = 'tcp port 25'\nlog = 'DIR/mail.jsonl'\n");
        assert_eq!((status, err.as_str()), (0, "mailtap: note: the configuration is right: interfaces lo\n"));
    }

    #[test]
    fn what_a_start_would_refuse_is_reported_with_its_line() {
        for (text, told) in [
            ("[[listener]]\nlisten = ':25'\n", "DIR/c.toml, line 1: listener smtp: where to? give it an upstream"),
            ("quiet = true\n[[listener]]\nlisten = '25x'\n", "DIR/c.toml, line 3: listen: `25x`: expected ADDR:PORT, "),
            ("[[listener]]\nport = 25\n", "DIR/c.toml, line 2: unknown key `port`; [[listener]] has name, listen, "),
            ("listener = 3\n", "DIR/c.toml, line 1: expected tables, each under a line [[listener]]"),
            (
                "drain-timeout = 5\nupstream = 'a'\n",
                "DIR/c.toml, line 1: drain-timeout: `5`: expected a number with a unit",
            ),
            ("snaplen = 100\n", "DIR/c.toml, line 1: `snaplen` is a key of mailtap sniff, not of mailtap proxy"),
            ("metrics-token = { hunter2 = 1 }\n", "DIR/c.toml, line 1: metrics-token: expected the secret, "),
            ("upstream = '127.0.0.1'\nmetrics-cert = 'a'\n", "metrics-cert and metrics-key go together: "),
            (
                "upstream = '127.0.0.1:25'\nlisten = '127.0.0.1:25'\n",
                "listener smtp: its upstream 127.0.0.1:25 is the listener itself; ",
            ),
        ] {
            let (status, err) = check("proxy", text);
            assert_eq!((status, err.lines().count()), (1, 1), "{text}: {err}");
            assert!(err.starts_with(&format!("mailtap: error: {told}")), "{text}: {err}");
            assert!(!err.contains("hunter2"), "{err}");
        }
    }

    #[test]
    fn every_fault_is_reported() {
        let text = "log = 'DIR/none/mail.jsonl'\nuser = 'no-such-user'\nreply-reasons = 'DIR/none.toml'\n\
                    metrics-listen = 9325\nmetrics-cert = 'DIR/none.pem'\nmetrics-key = 'DIR/none.pem'\n\
                    [[listener]]\nname = 'mx'\nlisten = ':25'\nupstream = 'mx.invalid:25'\n\
                    [[listener]]\nlisten = ':993'\nupstream = '192.0.2.1:143'\ntls = 'implicit'\ntls-cert = 'DIR/c.toml'\ntls-key = 'DIR/c.toml'\n";
        let (status, err) = check("proxy", text);
        assert_eq!((status, err.lines().count()), (1, 6), "{err}");
        for told in [
            "--user no-such-user: ",
            "DIR/none/mail.jsonl: ",
            "DIR/none.toml: ",
            "DIR/none.pem: ",
            "mx.invalid ",
            "DIR/c.toml: ",
        ] {
            assert!(err.lines().any(|line| line.starts_with(&format!("mailtap: error: {told}"))), "{told} in {err}");
        }
        assert!(err.lines().all(|line| line.contains("; ")), "each says what to do: {err}");
        for (text, told) in [
            ("log = 'DIR/c.toml'", "DIR/c.toml: is --log and --config "),
            ("log = '/dev/fd/999'", "cannot open the log /dev/fd/999: "),
            ("log = 'DIR/a'\nhandover = 'DIR/../DIR/a'", "DIR/a: is --log and --handover "),
            ("handover = 'DIR/c.toml'", "DIR/c.toml: "),
            ("log-files = 3", "log-files needs log-rotate: "),
            ("log-mode = '888'", "DIR/c.toml, line 1: log-mode: `888`: expected octal permissions"),
        ] {
            let text = format!("{text}\nupstream = '192.0.2.1'\n");
            let (status, err) = check("proxy", &text.replace("DIR/../DIR", "DIR/."));
            assert_eq!((status, err.lines().count()), (1, 1), "{text}: {err}");
            assert!(err.starts_with(&format!("mailtap: error: {told}")), "{text}: {err}");
        }
        let text = "interface = ['lo', 'none0']\nfilter = 'tcp prt 25'\nwrite = 'DIR/none/a.pcapng'\n";
        let (status, err) = check("sniff", text);
        assert_eq!((status, err.lines().count()), (1, 3), "{err}");
        for told in
            ["lo: the filter `tcp prt 25` cannot be used", "none0: there is no such interface", "DIR/none/a.pcapng: "]
        {
            assert!(err.contains(told), "{told} in {err}");
        }
    }
}

mod diagnostics {
    use super::*;

    #[test]
    fn a_wrong_filter_says_what_is_allowed() {
        let (_dir, file) = with("a.pcap", &capture(3));
        let with = |filter: &str| {
            let mut command = Command::cargo_bin("mailtap").unwrap();
            command.args(["analyze", &file]).env("MAILTAP_LOG", filter).output().unwrap()
        };
        let output = with("verbose");
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{err}");
        assert!(err.starts_with("mailtap: error: MAILTAP_LOG: `verbose`: expected off, error, "), "{err}");
        assert!(with("mailtap=debug").status.success());
        assert!(run(&["--help"]).1.contains("MAILTAP_LOG"));
    }
}
