//! Conversations that go on now, straight into an engine: what an input would hand to its fan-out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailtap::engine::{Limits, Session};
use mailtap::event::{Dir, End, Input, Peers, Sink};
use mailtap::time::Timestamp;

/// One connection.
pub(crate) struct Talk<'a> {
    session: Session,
    at: Timestamp,
    out: &'a mut dyn Sink,
}

impl<'a> Talk<'a> {
    /// From `client` to a server's `port`; it began `ago`.
    pub(crate) fn new(out: &'a mut dyn Sink, id: u64, client: &str, port: u16, ago: Duration) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - ago;
        let at = Timestamp::from_parts(now.as_secs(), now.subsec_nanos().into());
        let peers = Peers {
            client: client.parse().unwrap(),
            server: SocketAddr::from(([192, 0, 2, 25], port)),
            established: Some(at),
            roles_certain: true,
            // The second listener is that of submission.
            source: u32::from(port == 587),
            ordinal: id,
        };
        Self { session: Session::new(at, id, peers, Arc::new(Limits::default())), at, out }
    }

    fn say(&mut self, dir: Dir, octets: &[u8], after: f64) -> &mut Self {
        self.at = self.at.after(Duration::from_secs_f64(after / 1000.0));
        self.session.handle(self.at, dir, Input::Data(octets), self.out);
        self
    }

    /// The client sends a line.
    pub(crate) fn c(&mut self, line: &str) -> &mut Self {
        self.say(Dir::ToServer, format!("{line}\r\n").as_bytes(), 1.0)
    }

    /// The client sends octets.
    pub(crate) fn octets(&mut self, octets: &[u8]) -> &mut Self {
        self.say(Dir::ToServer, octets, 1.0)
    }

    /// The server sends a line after so many milliseconds.
    pub(crate) fn s(&mut self, line: &str, after: f64) -> &mut Self {
        self.say(Dir::ToClient, format!("{line}\r\n").as_bytes(), after)
    }

    /// The client closes.
    pub(crate) fn close(&mut self) {
        self.session.handle(self.at, Dir::ToServer, Input::Fin, self.out);
        self.session.finish(self.at, End::Closed, self.out);
    }

    /// A reset.
    pub(crate) fn reset(&mut self) {
        self.session.handle(self.at, Dir::ToServer, Input::Reset, self.out);
        self.session.finish(self.at, End::Closed, self.out);
    }
}

/// SMTP up to the greeting's answer.
pub(crate) fn hello<'t, 'a>(talk: &'t mut Talk<'a>) -> &'t mut Talk<'a> {
    talk.s("220 mx.example.org ESMTP", 12.0).c("EHLO client.example.net").s("250-mx.example.org\r\n250 SIZE", 0.8)
}

/// One message in a session, from MAIL to the final reply.
pub(crate) fn message(talk: &mut Talk<'_>, from: &str, to: &str, subject: &str, octets: usize, reply: (&str, f64)) {
    talk.c(&format!("MAIL FROM:<{from}>")).s("250 2.1.0 Ok", 1.4).c(&format!("RCPT TO:<{to}>")).s("250 2.1.5 Ok", 9.0);
    talk.c("DATA").s("354 Go ahead", 0.4).c(&format!("Subject: {subject}\r\nFrom: <{from}>\r\n"));
    let line = "Whether it rains or not, the mail must go through.\r\n";
    talk.octets(line.repeat(octets / line.len()).as_bytes()).c(".").s(reply.0, reply.1);
}
