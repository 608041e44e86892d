//! The path under which a reverse proxy shows the pages.
//!
//! Pages only hold relative addresses, so a proxy that cuts its own prefix off needs nothing from us. One that passes
//! paths on as they are does: then everything is served under the prefix as well as without it.

use std::{fmt, str::FromStr};

use axum::{
    Router,
    extract::{Request, State},
    http::{Uri, uri::PathAndQuery},
    middleware,
    response::{IntoResponse, Redirect, Response},
};
use serde::{Deserialize, Deserializer, de::Error as _};

/// A prefix such as `/ehash`, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

/// A text that is no [`BasePath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected \"\" or a path such as \"/ehash\": it begins with /, does not end with it, and has letters, digits, - . _ ~ between"
)]
pub struct InvalidBasePath;

impl FromStr for BasePath {
    type Err = InvalidBasePath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !part.is_empty() && !matches!(part, "." | "..") && part.bytes().all(allowed)
        };
        let is_valid = match text.strip_prefix('/') {
            Some(parts) => parts.split('/').all(plain),
            None => text.is_empty(),
        };
        is_valid.then(|| Self(text.to_owned())).ok_or(InvalidBasePath)
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BasePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl BasePath {
    /// The router with everything under this prefix, too.
    pub fn mount(self, router: Router) -> Router {
        if self.0.is_empty() {
            return router;
        }
        // A layer of the router itself would see the path after it was looked up.
        Router::new()
            .fallback_service(router)
            .layer(middleware::map_request_with_state(self, cut_off))
    }

    /// The path behind the prefix; `None` if it does not begin with it.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&self.0)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

async fn cut_off(State(base): State<BasePath>, mut request: Request) -> Result<Request, Response> {
    let uri = request.uri();
    let Some(rest) = base.rest(uri.path()) else {
        return Ok(request);
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if rest.is_empty() {
        // Without the slash, what the page names relatively would be looked for beside it.
        return Err(Redirect::permanent(&format!("{base}/{query}")).into_response());
    }
    let Ok(path_and_query) = format!("{rest}{query}").parse::<PathAndQuery>() else {
        return Ok(request);
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_a_plain_path_without_a_slash_at_its_end() {
        for good in ["", "/ehash", "/a/b-c_d.e~f"] {
            assert_eq!(good.parse::<BasePath>().unwrap().to_string(), good);
        }
        for bad in [
            "/", "ehash", "/ehash/", "//", "/a//b", "/a b", "/a?b", "/ä", "/..", "/a/./b", "http://x",
        ] {
            assert_eq!(bad.parse::<BasePath>(), Err(InvalidBasePath), "{bad}");
        }
    }

    #[test]
    fn a_prefix_ends_where_a_part_of_the_path_does() {
        let base: BasePath = "/pool".parse().unwrap();
        assert_eq!(base.rest("/pool/mint"), Some("/mint"));
        assert_eq!(base.rest("/pool"), Some(""));
        assert_eq!(base.rest("/pools"), None);
        assert_eq!(base.rest("/mint"), None);
    }
}
