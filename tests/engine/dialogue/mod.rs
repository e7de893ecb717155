//! Dialogues in a notation of their own: what client and server send, and the records that must come of it.
//!
//! A dialogue is a block that begins with `dialogue TITLE`. `define NAME` … `end` names lines that `@NAME` repeats.
//!
//! | line | meaning |
//! | --- | --- |
//! | `server WORD` | the server's port: `smtp` 25, `lmtp` 24, `pop3` 110, `imap` 143, `other` 9999 |
//! | `secret TEXT` | must be in no output, in no encoding |
//! | `C: text`, `S: text` | a line of the client or server; CRLF is appended |
//! | `C~ text`, `S~ text` | the same without CRLF; `\r \n \0 \xHH \\` stand for octets in both |
//! | `C* n text` | `text` n times, without CRLF |
//! | `C# hex` | octets in hexadecimal |
//! | `+C: text` … | in the same segment as the item before; every other item is a segment of its own |
//! | `again C text` | the item above, sent again with other octets from its start on (captures only: TCP takes the first) |
//! | `lost C n` | n octets of the client were not captured |
//! | `pause n` | n seconds pass |
//! | `close C fin`, `close S reset`, `close none` | who closes; without such a line the client does |
//! | `midstream` | the capture starts after the handshake |
//! | `unseen S` | this direction was not captured |
//! | `earlier n` | n IMAP sessions of the same server come before it: greeting with STARTTLS on offer, LOGOUT |
//! | `= TYPE {…}` | a record: see [`expect`] |

pub(crate) mod damage;
pub(crate) mod expect;
mod frames;
pub(crate) mod play;

use std::collections::BTreeMap;

/// Which side an item is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What passes between the two.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Side, Vec<u8>),
    Lost(Side, u64),
    Again(Side, Vec<u8>),
    Pause(u64),
    Fin(Side),
    Reset(Side),
}

/// A dialogue with what is expected of it.
#[derive(Clone, Debug)]
pub(crate) struct Dialogue {
    pub(crate) title: String,
    pub(crate) port: u16,
    pub(crate) steps: Vec<Step>,
    pub(crate) midstream: bool,
    pub(crate) unseen: Option<Side>,
    pub(crate) earlier: u16,
    pub(crate) closes: bool,
    pub(crate) secrets: Vec<String>,
    pub(crate) expected: Vec<(String, String)>,
}

impl Dialogue {
    fn new(title: &str, port: u16) -> Self {
        Self {
            title: title.to_owned(),
            port,
            steps: Vec::new(),
            midstream: false,
            unseen: None,
            earlier: 0,
            closes: true,
            secrets: Vec::new(),
            expected: Vec::new(),
        }
    }

    /// Whether all octets of both sides are in the capture: only then may segments be repeated and reordered.
    pub(crate) fn is_complete(&self) -> bool {
        let whole = |step: &Step| !matches!(step, Step::Lost(..) | Step::Again(..));
        !self.midstream && self.unseen.is_none() && self.steps.iter().all(whole)
    }

    /// Whether segments must stay as they are listed, as one of them is sent again.
    pub(crate) fn is_cut_as_listed(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Again(..)))
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("= ") {
            let (kind, pattern) = rest.split_once(' ').unwrap_or((rest, ""));
            self.expected.push((kind.to_owned(), pattern.to_owned()));
            return Ok(());
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "server" => self.port = port(rest).ok_or("no such server")?,
            "secret" => self.secrets.push(rest.to_owned()),
            "pause" => self.steps.push(Step::Pause(number(rest)?)),
            "midstream" => self.midstream = true,
            "unseen" => self.unseen = Some(side(rest)?),
            "earlier" => self.earlier = number(rest)? as u16,
            "lost" => {
                let (who, octets) = rest.split_once(' ').ok_or("lost: who, and how many?")?;
                self.steps.push(Step::Lost(side(who)?, number(octets)?));
            }
            "again" => {
                let (who, text) = rest.split_once(' ').ok_or("again: who, and what?")?;
                self.steps.push(Step::Again(side(who)?, unescape(text)?));
            }
            "close" if rest == "none" => self.closes = false,
            "close" => {
                let (who, how) = rest.split_once(' ').ok_or("close: who, and how?")?;
                self.steps.push(match how {
                    "fin" => Step::Fin(side(who)?),
                    "reset" => Step::Reset(side(who)?),
                    _ => return Err("close: fin or reset?".into()),
                });
            }
            _ => self.item(word, rest)?,
        }
        Ok(())
    }

    fn item(&mut self, word: &str, rest: &str) -> Result<(), String> {
        let (same, word) = word.strip_prefix('+').map_or((false, word), |w| (true, w));
        let who = side(word.get(..1).unwrap_or(""))?;
        let octets = match word.get(1..).unwrap_or("") {
            ":" => [unescape(rest)?.as_slice(), b"\r\n"].concat(),
            "~" => unescape(rest)?,
            "*" => {
                let (times, text) = rest.split_once(' ').ok_or("how often?")?;
                unescape(text)?.repeat(number(times)? as usize)
            }
            "#" => data_encoding::HEXLOWER_PERMISSIVE.decode(rest.as_bytes()).map_err(|e| e.to_string())?,
            _ => return Err(format!("what is {word:?}?")),
        };
        match (same, self.steps.last_mut()) {
            (false, _) => self.steps.push(Step::Data(who, octets)),
            (true, Some(Step::Data(side, before))) if *side == who => before.extend(octets),
            _ => return Err("nothing that it could share a segment with".into()),
        }
        Ok(())
    }
}

/// All dialogues of `text`; `word` is the server unless a dialogue names another.
pub(crate) fn parse(text: &str, word: &str) -> Vec<Dialogue> {
    let port = port(word).expect("a server");
    let (mut dialogues, mut macros) = (Vec::<Dialogue>::new(), BTreeMap::<String, Vec<String>>::new());
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let fail = |why: String| panic!("line {}: {line}\n{why}", at + 1);
        if line.is_empty() || line.starts_with("# ") || line == "#" {
        } else if let Some(title) = line.strip_prefix("dialogue ") {
            assert!(dialogues.iter().all(|d| d.title != title), "twice: {title}");
            dialogues.push(Dialogue::new(title, port));
        } else if let Some(name) = line.strip_prefix("define ") {
            let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "end");
            macros.insert(name.to_owned(), body.map(str::to_owned).collect());
        } else {
            let dialogue = dialogues.last_mut().expect("a dialogue before its lines");
            for name_or_line in words(line) {
                let repeated = name_or_line.strip_prefix('@');
                let body = match repeated {
                    Some(name) => macros.get(name).cloned().unwrap_or_else(|| panic!("line {}: no {name}", at + 1)),
                    None => vec![name_or_line.to_owned()],
                };
                for line in &body {
                    dialogue.line(line).unwrap_or_else(fail);
                }
            }
        }
    }
    dialogues
}

/// `@a @b` are two, anything else is one.
fn words(line: &str) -> Vec<&str> {
    if line.starts_with('@') { line.split_whitespace().collect() } else { vec![line] }
}

fn port(word: &str) -> Option<u16> {
    let known = [("smtp", 25), ("lmtp", 24), ("pop3", 110), ("imap", 143), ("other", 9999)];
    known.iter().find(|(name, _)| *name == word).map(|(_, port)| *port)
}

fn side(word: &str) -> Result<Side, String> {
    match word {
        "C" => Ok(Side::Client),
        "S" => Ok(Side::Server),
        _ => Err(format!("neither C nor S: {word:?}")),
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("no number: {word:?}"))
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let (mut octets, mut rest) = (Vec::new(), text.bytes());
    while let Some(octet) = rest.next() {
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        octets.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [rest.next().unwrap_or(b'?'), rest.next().unwrap_or(b'?')];
                data_encoding::HEXLOWER_PERMISSIVE.decode(&digits).map_err(|e| e.to_string())?[0]
            }
            other => return Err(format!("no such escape: {other:?}")),
        });
    }
    Ok(octets)
}
