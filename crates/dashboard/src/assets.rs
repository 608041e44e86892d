//! Style, scripts and icon: part of the program, served under `static/`, asked for again by ETag.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use crate::http::{is_current, not_found};

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: &'static [u8],
}

const ASSETS: [Asset; 7] = [
    Asset::new("app.css", STYLE, include_bytes!("../assets/app.css")),
    Asset::new("app.js", SCRIPT, include_bytes!("../assets/app.js")),
    Asset::new("feed.js", SCRIPT, include_bytes!("../assets/feed.js")),
    Asset::new("format.js", SCRIPT, include_bytes!("../assets/format.js")),
    Asset::new("miners.js", SCRIPT, include_bytes!("../assets/miners.js")),
    Asset::new("view.js", SCRIPT, include_bytes!("../assets/view.js")),
    Asset::new("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
];

impl Asset {
    const fn new(name: &'static str, content_type: &'static str, body: &'static [u8]) -> Self {
        Self {
            name,
            content_type,
            body,
        }
    }

    /// The same for the same bytes, in this program and the next.
    fn etag(&self) -> Option<HeaderValue> {
        let mut hasher = DefaultHasher::new();
        self.body.hash(&mut hasher);
        HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish())).ok()
    }
}

/// Answers `GET /static/{name}`.
pub(crate) async fn serve(Path(name): Path<String>, request: HeaderMap, uri: Uri) -> Response {
    let Some((asset, etag)) = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .and_then(|asset| Some((asset, asset.etag()?)))
    else {
        return not_found(uri).await;
    };
    if is_current(&request, &etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let content_type = HeaderValue::from_static(asset.content_type);
    ([(header::ETAG, etag), (header::CONTENT_TYPE, content_type)], asset.body).into_response()
}
