//! `POST /api/v1/mint/refresh`: an operator has the pool ask its mint for a snapshot now.
//!
//! It costs the mint an answer, so not everybody may: whoever sits at this machine, and whoever has the token. A page of
//! somebody else in the operator's browser is neither, although the browser runs here; nor is whoever comes through a
//! proxy on this machine. One question a second goes out at most.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::Authority},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Serialize;
use service::secret_file::Secret;
use stats_push::{RefreshError, Refreshed};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    http::{ApiError, ErrorJson},
    source::PoolSource,
};

/// How long the mint may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two questions.
const GAP: Duration = Duration::from_secs(1);

/// The mint has answered, and what it said is what the page shows.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct RefreshedJson {
    /// What the question went by on the link.
    request_id: u32,
    /// From the question to its answer.
    round_trip_ms: f64,
}

impl From<Refreshed> for RefreshedJson {
    fn from(refreshed: Refreshed) -> Self {
        Self {
            request_id: refreshed.request_id,
            round_trip_ms: fine_millis(refreshed.round_trip),
        }
    }
}

/// Why there is no answer, to whoever asked.
fn told(error: RefreshError) -> ApiError {
    match error {
        RefreshError::NoMint => ApiError(StatusCode::SERVICE_UNAVAILABLE, "no mint is connected"),
        RefreshError::Unsupported => ApiError(StatusCode::CONFLICT, "the mint does not support statistics"),
        RefreshError::TooLate => ApiError(
            StatusCode::GATEWAY_TIMEOUT,
            "the mint has not answered within 5 s; it answers once in each of its min_gap_ms at most",
        ),
        RefreshError::Ended => ApiError(
            StatusCode::BAD_GATEWAY,
            "the connection with the mint ended before it answered",
        ),
    }
}

/// What other machines show to have the mint asked: 16 to 256 printable ASCII characters without spaces.
#[derive(Clone, Debug)]
pub struct RefreshToken(Secret);

/// Not a [`RefreshToken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 16 to 256 printable ASCII characters without spaces")]
pub struct InvalidRefreshToken;

impl RefreshToken {
    /// Takes a text as the token.
    ///
    /// # Errors
    /// It is too short, too long, or can't stand in a header.
    pub fn new(text: String) -> Result<Self, InvalidRefreshToken> {
        let fits = (16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let secret = Secret::new(text);
        fits.then_some(Self(secret)).ok_or(InvalidRefreshToken)
    }

    /// Whether it is this one, in a time that does not tell how much of it is.
    fn is(&self, shown: &[u8]) -> bool {
        let token = self.0.expose().as_bytes();
        let differing = token
            .iter()
            .zip(shown)
            .fold(0, |bits, (ours, theirs)| bits | (ours ^ theirs));
        token.len() == shown.len() && differing == 0
    }
}

impl<'de> serde::Deserialize<'de> for RefreshToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(text).map_err(serde::de::Error::custom)
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) SocketAddr);

/// The path, for a pool.
pub(crate) fn route(pool: Arc<dyn PoolSource>) -> Router {
    let app = Arc::new(App {
        pool,
        last: Mutex::default(),
    });
    let methods = post(refresh).fallback(only_post).with_state(app);
    Router::new().route("/api/v1/mint/refresh", methods)
}

pub(crate) struct App {
    pool: Arc<dyn PoolSource>,
    /// When a question last went out.
    last: Mutex<Option<Instant>>,
}

impl App {
    /// Takes the place for a question, or says how long there is none.
    fn turn(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.map(|last| last + GAP) {
            Some(next) if now < next => Err(next - now),
            _ => {
                *last = Some(now);
                Ok(())
            }
        }
    }
}

async fn only_post() -> Response {
    let allow = [(header::ALLOW, "POST")];
    let error = ApiError(StatusCode::METHOD_NOT_ALLOWED, "this path takes POST, without a body");
    (allow, error).into_response()
}

/// Has the mint asked for a snapshot now, and answers when it is there. From this machine, or with the token.
#[utoipa::path(
    post,
    path = "/api/v1/mint/refresh",
    responses(
        (status = 200, body = RefreshedJson),
        (status = 401, body = ErrorJson, description = "The token is missing or wrong"),
        (status = 403, body = ErrorJson, description = "A page of another site asks, or there is no token to show"),
        (status = 409, body = ErrorJson, description = "The mint does not support statistics"),
        (status = 429, body = ErrorJson, description = "Somebody has asked within the last second"),
        (status = 502, body = ErrorJson, description = "The connection ended before the mint answered"),
        (status = 503, body = ErrorJson, description = "No mint is connected"),
        (status = 504, body = ErrorJson, description = "The mint has not answered in time"),
    )
)]
pub(crate) async fn refresh(
    State(app): State<Arc<App>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
) -> Response {
    let client = client.map(|Extension(Client(address))| address);
    if let Err(refusal) = may(client, &headers, app.pool.refresh_token()) {
        return refusal.into_response();
    }
    if let Err(wait) = app.turn() {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let error = ApiError(StatusCode::TOO_MANY_REQUESTS, "the mint is asked once a second at most");
        return ([(header::RETRY_AFTER, seconds.to_string())], error).into_response();
    }
    match app.pool.refresh(DEADLINE).await {
        Ok(refreshed) => Json(RefreshedJson::from(refreshed)).into_response(),
        Err(error) => told(error).into_response(),
    }
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    CrossSite,
    NotHere,
    NoToken,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let line = match self {
            Self::CrossSite => "this is not for pages of other sites",
            Self::NotHere => {
                "from another machine, or through a proxy, this takes a token, and refresh.token is not set"
            }
            Self::NoToken => {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                let line = "from another machine, or through a proxy, this takes the header Authorization: Bearer and \
                            the value of refresh.token";
                return (challenge, ApiError(StatusCode::UNAUTHORIZED, line)).into_response();
            }
        };
        ApiError(StatusCode::FORBIDDEN, line).into_response()
    }
}

fn may(client: Option<SocketAddr>, headers: &HeaderMap, token: Option<&RefreshToken>) -> Result<(), Refusal> {
    if is_cross_site(headers) {
        return Err(Refusal::CrossSite);
    }
    let shown = headers.get(header::AUTHORIZATION).and_then(bearer);
    match (token, shown) {
        (Some(token), Some(shown)) if token.is(shown) => Ok(()),
        // A token that is wrong is a mistake to be told of, also here.
        (Some(_), Some(_)) => Err(Refusal::NoToken),
        _ if is_here(client, headers) => Ok(()),
        (Some(_), None) => Err(Refusal::NoToken),
        (None, _) => Err(Refusal::NotHere),
    }
}

/// What stands behind `Bearer` (RFC 6750, section 2.1), a scheme that is written in any case.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Whether a browser says that the page which asks is somebody else's. Who sends neither header is no browser.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN).map(HeaderValue::as_bytes) else {
        return false;
    };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let scheme = |name: &[u8]| origin.strip_prefix(name).map(<[u8]>::to_ascii_lowercase);
    let origin = scheme(b"http://").or_else(|| scheme(b"https://"));
    origin.is_none() || origin != host.map(<[u8]>::to_ascii_lowercase)
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What proxies add. One on this machine must not make everybody local.
const OF_PROXIES: [HeaderName; 4] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// Whether whoever asks sits at this machine, and means it by the name it uses: a name that only leads here is anybody's
/// (DNS rebinding).
fn is_here(client: Option<SocketAddr>, headers: &HeaderMap) -> bool {
    let local = client.is_some_and(|address| address.ip().to_canonical().is_loopback());
    let proxied = OF_PROXIES.iter().any(|name| headers.contains_key(name));
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    local && !proxied && host.is_some_and(|host| names_loopback(host.host()))
}

fn names_loopback(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let address = bare.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Milliseconds with three digits behind the point.
pub(crate) fn fine_millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "correct-horse-battery";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = list
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        pairs.collect()
    }

    fn judged(client: &str, list: &[(&'static str, &str)], token: Option<&str>) -> Result<(), Refusal> {
        let token = token.map(|token| RefreshToken::new(token.to_owned()).unwrap());
        may(Some(client.parse().unwrap()), &headers(list), token.as_ref())
    }

    #[test]
    fn who_sits_at_this_machine_may_without_a_token() {
        for (client, host) in [
            ("127.0.0.1:5000", "127.0.0.1:8081"),
            ("127.0.0.1:5000", "localhost:8081"),
            ("127.9.9.9:5000", "LOCALHOST"),
            ("[::1]:5000", "[::1]:8081"),
            ("[::ffff:127.0.0.1]:5000", "localhost:8081"),
        ] {
            assert_eq!(judged(client, &[("host", host)], None), Ok(()), "{client} {host}");
        }
        assert_eq!(
            may(None, &headers(&[("host", "localhost")]), None),
            Err(Refusal::NotHere)
        );
    }

    #[test]
    fn who_comes_from_elsewhere_through_a_proxy_or_by_a_name_that_only_leads_here_may_not() {
        let here = "127.0.0.1:5000";
        for (client, list) in [
            ("192.0.2.1:5000", vec![("host", "localhost")]),
            ("[2001:db8::1]:5000", vec![("host", "[::1]")]),
            (here, vec![("host", "pool.example")]),
            (here, vec![("host", "127.0.0.1.pool.example")]),
            (here, vec![]),
            (here, vec![("host", "localhost"), ("x-forwarded-for", "192.0.2.1")]),
            (here, vec![("host", "localhost"), ("forwarded", "for=192.0.2.1")]),
            (here, vec![("host", "localhost"), ("via", "1.1 proxy")]),
            (here, vec![("host", "localhost"), ("x-real-ip", "192.0.2.1")]),
        ] {
            assert_eq!(judged(client, &list, None), Err(Refusal::NotHere), "{client} {list:?}");
            assert_eq!(
                judged(client, &list, Some(TOKEN)),
                Err(Refusal::NoToken),
                "{client} {list:?}"
            );
        }
    }

    #[test]
    fn the_token_opens_from_everywhere_and_a_wrong_one_from_nowhere() {
        for client in ["192.0.2.1:5000", "127.0.0.1:5000"] {
            let with = |value: &str| {
                let list = [
                    ("host", "localhost"),
                    ("authorization", value),
                    ("x-forwarded-for", "192.0.2.7"),
                ];
                judged(client, &list, Some(TOKEN))
            };
            assert_eq!(with(&format!("Bearer {TOKEN}")), Ok(()));
            assert_eq!(with(&format!("bearer  {TOKEN}")), Ok(()));
            for wrong in [
                "Bearer",
                "Bearer ",
                &format!("Basic {TOKEN}"),
                &format!("Bearer {TOKEN}x"),
                "Bearer correct-horse-batterx",
            ] {
                assert_eq!(with(wrong), Err(Refusal::NoToken), "{wrong}");
            }
        }
        let list = [("host", "localhost"), ("authorization", "Bearer something-wrong")];
        assert_eq!(judged("127.0.0.1:1", &list, Some(TOKEN)), Err(Refusal::NoToken));
    }

    #[test]
    fn a_page_of_another_site_may_not_whatever_it_knows() {
        let token = format!("Bearer {TOKEN}");
        for (name, value, ok) in [
            ("origin", "http://localhost:8081", true),
            ("origin", "https://LocalHost:8081", true),
            ("origin", "http://localhost", false),
            ("origin", "http://evil.example", false),
            ("origin", "http://localhost:8081.evil.example", false),
            ("origin", "null", false),
            ("origin", "file://", false),
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "none", true),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "cross-site", false),
        ] {
            let wanted = if ok { Ok(()) } else { Err(Refusal::CrossSite) };
            let list = [("host", "localhost:8081"), (name, value)];
            assert_eq!(judged("127.0.0.1:1", &list, None), wanted, "{value}");
            let list = [("host", "localhost:8081"), (name, value), ("authorization", &token)];
            assert_eq!(judged("127.0.0.1:1", &list, Some(TOKEN)), wanted, "{value}");
        }
    }

    #[test]
    fn a_token_has_a_length_and_never_shows() {
        for bad in [
            "",
            "fifteen-letters",
            "with a space in it",
            "tab\tin the middle",
            &"x".repeat(257),
            "sixteen-lettersé",
        ] {
            assert_eq!(
                RefreshToken::new(bad.to_owned()).err(),
                Some(InvalidRefreshToken),
                "{bad}"
            );
        }
        let token = RefreshToken::new(TOKEN.to_owned()).unwrap();
        assert!(!format!("{token:?}").contains("horse"));
        assert!(token.is(TOKEN.as_bytes()) && !token.is(b"") && !token.is(&TOKEN.as_bytes()[1..]));
    }
}
