//! Style, scripts and icon: part of the program, served under `static/`, asked for again by ETag.

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::http::{is_current, not_found};

/// The folder `assets`, whole.
#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// Answers `GET /static/{name}`.
pub(crate) async fn serve(Path(name): Path<String>, request: HeaderMap, uri: Uri) -> Response {
    let found = Assets::get(&name).and_then(|asset| Some((etag(&asset)?, content_type(&name)?, asset)));
    let Some((etag, content_type, asset)) = found else {
        return not_found(uri).await;
    };
    if is_current(&request, &etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let content_type = HeaderValue::from_static(content_type);
    let headers = [(header::ETAG, etag), (header::CONTENT_TYPE, content_type)];
    (headers, asset.data).into_response()
}

/// By what the file contains: the same in this program and the next. Weak, for an answer may be compressed or not.
fn etag(asset: &EmbeddedFile) -> Option<HeaderValue> {
    let hash = asset.metadata.sha256_hash();
    HeaderValue::try_from(format!("W/\"{}\"", hex::encode(hash.get(..12)?))).ok()
}

fn content_type(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    match ending {
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "txt" => Some("text/plain; charset=utf-8"),
        _ => None,
    }
}
