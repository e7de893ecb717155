//! A request, answered: which path, which method, who may, and the header that keeps a browser honest.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::events::Events;
use super::{Readiness, Ready, ServeShared};
use crate::output::page;

/// The body of an answer.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

const TEXT: &str = "text/plain; charset=utf-8";
/// Prometheus text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What every answer says. The page's parts come from here and nowhere else; nobody frames it, nothing is kept.
const HEADER: [(HeaderName, &str); 8] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Answers `request`; `streams` is set as long as the answer lasts.
pub(super) fn answer(
    shared: &Arc<ServeShared>,
    request: &Request<Incoming>,
    streams: &Arc<AtomicBool>,
) -> Response<AnswerBody> {
    let mut response = routed(shared, request, streams);
    for (name, value) in HEADER {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn routed(shared: &Arc<ServeShared>, request: &Request<Incoming>, streams: &Arc<AtomicBool>) -> Response<AnswerBody> {
    let access = shared.access();
    if !access.is_host(request.uri(), request.headers()) {
        return plain(
            StatusCode::MISDIRECTED_REQUEST,
            "This listener is on loopback and takes requests for localhost only. Behind a reverse proxy, let it send \
             `Host: localhost`, or give the name with --metrics-host.\n",
        );
    }
    let path = request.uri().path();
    let resource = Resource::at(path);
    if resource.is_some_and(Resource::is_page) && !access.is_page_host(request.uri(), request.headers()) {
        return plain(
            StatusCode::MISDIRECTED_REQUEST,
            "The page is shown under an IP address, the name of this host, or a name given with --metrics-host.\n",
        );
    }
    let is_open = matches!(path, "/healthz" | "/readyz");
    if !is_open && !access.is_permitted(request.headers()) {
        return unauthorized();
    }
    let Some(resource) = resource else {
        return plain(StatusCode::NOT_FOUND, "Nothing is here. There are /, /metrics, /healthz and /readyz.\n");
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "This can only be read: GET or HEAD.\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    resource.answer(shared, request, streams)
}

/// What there is.
#[derive(Clone, Copy)]
enum Resource {
    Metrics,
    Health,
    Readiness,
    Events,
    /// The place of a page, which confirms it.
    Seat(u64),
    /// What a session did.
    Session(u64),
    Asset(&'static page::Asset),
}

impl Resource {
    /// Whether it is there for a person's browser.
    const fn is_page(self) -> bool {
        matches!(self, Self::Events | Self::Seat(_) | Self::Session(_) | Self::Asset(_))
    }

    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Readiness,
            "/events" => Self::Events,
            _ if path.starts_with("/seat/") => Self::Seat(path.get(6..)?.parse().ok()?),
            _ if path.starts_with("/session/") => Self::Session(path.get(9..).and_then(page::session_id)?),
            _ => Self::Asset(page::ASSETS.iter().find(|asset| asset.path == path)?),
        })
    }

    fn answer(
        self,
        shared: &Arc<ServeShared>,
        request: &Request<Incoming>,
        streams: &Arc<AtomicBool>,
    ) -> Response<AnswerBody> {
        match self {
            Self::Metrics => metrics((shared.content.metrics)(), takes_gzip(request.headers())),
            Self::Health => plain(StatusCode::OK, "ok\n"),
            Self::Readiness => readiness(&shared.content.readiness),
            Self::Asset(asset) => full(StatusCode::OK, asset.kind, Bytes::from_static(asset.octets)),
            Self::Events => events(shared, request.method() == Method::HEAD, streams),
            Self::Seat(number) if shared.viewers.confirm(number, Instant::now()) => plain(StatusCode::OK, "yours\n"),
            Self::Seat(_) => plain(StatusCode::NOT_FOUND, "It is not taken any more.\n"),
            Self::Session(id) => match shared.content.page.session(id) {
                Some(json) => full(StatusCode::OK, "application/json", json.into()),
                None => plain(StatusCode::NOT_FOUND, "It is not among the sessions that the page lists.\n"),
            },
        }
    }
}

fn readiness(readiness: &Readiness) -> Response<AnswerBody> {
    match readiness.state() {
        Ready::Ready => {
            let text = format!("ready\n{}", readiness.notes());
            full(StatusCode::OK, TEXT, text.into())
        }
        Ready::Starting => plain(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Ready::Draining => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

/// Metrics repeat themselves: packed they are a tenth, for less than the time of writing them down.
fn metrics(text: Vec<u8>, packed: bool) -> Response<AnswerBody> {
    let packed = packed.then(|| gzip(&text)).flatten();
    let encoded = packed.is_some();
    let mut response = full(StatusCode::OK, METRICS, packed.unwrap_or(text).into());
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if encoded {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn gzip(text: &[u8]) -> Option<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    packed.write_all(text).ok()?;
    packed.finish().ok()
}

/// Whether `Accept-Encoding` names gzip, and not only to refuse it (RFC 9110 section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        name.trim().eq_ignore_ascii_case("gzip") && weight > 0.0
    })
}

fn events(shared: &Arc<ServeShared>, is_head: bool, streams: &Arc<AtomicBool>) -> Response<AnswerBody> {
    let kind = "text/event-stream";
    if is_head && shared.viewers.has_room(Instant::now()) {
        return full(StatusCode::OK, kind, Bytes::new());
    }
    let seat = shared.viewers.take(Arc::clone(streams), Instant::now()).filter(|_| !is_head);
    let Some(seat) = seat else {
        let text = "As many pages as may be are open already. Close one.\n";
        let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return response;
    };
    let events = Events::new(Arc::clone(&shared.content.page), seat);
    let mut response = with_body(StatusCode::OK, kind, events.boxed_unsync());
    // Reverse proxies pass it on at once (nginx).
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn unauthorized() -> Response<AnswerBody> {
    let text =
        "A token is needed: `Authorization: Bearer TOKEN`, or in a browser the token as password, with any name.\n";
    let mut response = plain(StatusCode::UNAUTHORIZED, text);
    let challenges = ["Basic realm=\"mailtap\", charset=\"UTF-8\"", "Bearer realm=\"mailtap\""];
    for challenge in challenges {
        response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<AnswerBody> {
    full(status, TEXT, Bytes::from_static(text.as_bytes()))
}

fn full(status: StatusCode, kind: &'static str, octets: Bytes) -> Response<AnswerBody> {
    with_body(status, kind, Full::new(octets).boxed_unsync())
}

fn with_body(status: StatusCode, kind: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
