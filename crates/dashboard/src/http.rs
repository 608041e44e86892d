//! What every answer has in common: the headers that keep a page to itself, and errors as one line of JSON.

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// Tells a reverse proxy (nginx) to pass a stream on as it comes.
pub(crate) const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Nothing but what this server serves, nothing inline, and no page may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Puts the security headers on an answer, and tells caches to ask again where it says nothing else.
pub(crate) async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache"));
    response
}

/// Refuses a request that does not name exactly one host, as HTTP/1.1 must (RFC 9112, section 3.2).
pub(crate) async fn one_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts == 1 || (hosts == 0 && request.version() < Version::HTTP_11) {
        return next.run(request).await;
    }
    refuse(
        request.uri(),
        StatusCode::BAD_REQUEST,
        "HTTP/1.1 needs exactly one Host header",
    )
}

/// An error of the JSON paths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApiError(pub(crate) StatusCode, pub(crate) &'static str);

/// What is wrong, in one clear line.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct ErrorJson {
    error: &'static str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorJson { error: self.1 })).into_response()
    }
}

/// A failure that is ours: told in the log, and to the client no more than the fact.
pub(crate) fn failed(what: &'static str, error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "{what}");
    ApiError(StatusCode::INTERNAL_SERVER_ERROR, what).into_response()
}

/// A path that leads nowhere: JSON below `/api/`, text elsewhere.
pub(crate) async fn not_found(uri: Uri) -> Response {
    refuse(&uri, StatusCode::NOT_FOUND, "there is nothing at this path")
}

/// A method that a path does not know.
pub(crate) async fn method_not_allowed(uri: Uri) -> Response {
    refuse(
        &uri,
        StatusCode::METHOD_NOT_ALLOWED,
        "this path is only read: use GET or HEAD",
    )
}

fn refuse(uri: &Uri, status: StatusCode, line: &'static str) -> Response {
    if uri.path().starts_with("/api/") {
        ApiError(status, line).into_response()
    } else {
        (status, format!("{line}\n")).into_response()
    }
}

/// Whether the client has what this ETag names (RFC 9110, section 13.1.2: compared weakly).
pub(crate) fn is_current(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let etag = opaque(etag.as_bytes());
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|tag| tag == b"*" || opaque(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_compared_weakly_in_lists_and_with_a_star() {
        let etag = HeaderValue::from_static("W/\"a-1\"");
        let current = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            is_current(&headers, &etag)
        };
        for matching in ["W/\"a-1\"", "\"a-1\"", "\"x\", W/\"a-1\"", "*"] {
            assert!(current(matching), "{matching}");
        }
        for other in ["W/\"a-2\"", "", "a-1", "W/"] {
            assert!(!current(other), "{other}");
        }
        assert!(!is_current(&HeaderMap::new(), &etag));
    }
}
