//! What a request means, by its method and path alone.
//!
//! A path is split at the words of the protocol and never joined to anything: names and digests in
//! it are parsed by their own grammars before anything is looked up.

use hyper::Method;
use lamina_types::Digest;

use crate::access::Deed;
use crate::answer::Refusal;

/// The longest path with its query.
const PATH_MAX: usize = 8 << 10;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`.
    Base,
    /// `/v2/_catalog`.
    Catalog,
    /// `/v2/NAME/tags/list`.
    Tags(String),
    /// `/v2/NAME/referrers/DIGEST`.
    Referrers(String, String),
    /// `/v2/NAME/manifests/TAG-OR-DIGEST`.
    Manifest(String, String),
    /// `/v2/NAME/blobs/DIGEST`.
    Blob(String, String),
    /// `/v2/NAME/blobs/uploads/`.
    Uploads(String),
    /// `/v2/NAME/blobs/uploads/ID`.
    Upload(String, String),
}

/// The parameters of a query, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Route {
    /// Splits a path.
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        let unknown = || Refusal::new(404, "UNSUPPORTED", "there is nothing here");
        if path.len() > PATH_MAX {
            return Err(Refusal::new(414, "UNSUPPORTED", "the path is too long"));
        }
        if matches!(path, "/v2" | "/v2/") {
            return Ok(Self::Base);
        }
        let path = decode(path).ok_or_else(unknown)?;
        let rest = path.strip_prefix("/v2/").ok_or_else(unknown)?;
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        let own = |text: &str| text.to_owned();
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(own(name)));
        }
        let uploads = rest
            .strip_suffix("/blobs/uploads/")
            .or_else(|| rest.strip_suffix("/blobs/uploads"));
        if let Some(name) = uploads {
            return Ok(Self::Uploads(own(name)));
        }
        type Make = fn(String, String) -> Route;
        let forms: [(&str, Make); 4] = [
            ("/blobs/uploads/", Self::Upload),
            ("/blobs/", Self::Blob),
            ("/manifests/", Self::Manifest),
            ("/referrers/", Self::Referrers),
        ];
        for (word, make) in forms {
            if let Some((name, last)) = rest.rsplit_once(word)
                && !last.is_empty()
                && !last.contains('/')
            {
                return Ok(make(own(name), own(last)));
            }
        }
        Err(unknown())
    }

    /// Says what a method does to it; `None` where it has no such method.
    pub(crate) fn deed(&self, method: &Method) -> Option<Deed> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Self::Base if reads => Some(Deed::Ping),
            Self::Catalog | Self::Tags(_) | Self::Referrers(..) if reads => Some(Deed::Read),
            Self::Manifest(..) | Self::Blob(..) if reads => Some(Deed::Read),
            Self::Manifest(..) if matches!(*method, Method::PUT | Method::DELETE) => {
                Some(Deed::Write)
            }
            Self::Uploads(_) if *method == Method::POST => Some(Deed::Write),
            Self::Upload(..)
                if matches!(
                    *method,
                    Method::GET | Method::PATCH | Method::PUT | Method::DELETE
                ) =>
            {
                Some(Deed::Write)
            }
            _ => None,
        }
    }
}

impl Query {
    /// Reads a query; what cannot be decoded is left out.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        let pairs = pairs.filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(&value.replace('+', " "))?))
        });
        Self(pairs.collect())
    }

    /// Returns a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns a parameter that is a digest.
    pub(crate) fn digest(&self, name: &str) -> Result<Option<Digest>, Refusal> {
        self.get(name).map(digest).transpose()
    }
}

/// Reads a digest.
pub(crate) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse()
        .map_err(|_| Refusal::new(400, "DIGEST_INVALID", "invalid digest"))
}

/// Decodes `%XX`; `None` for what is malformed or no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_one_thing() {
        let own = str::to_owned;
        for (path, route) in [
            ("/v2/", Route::Base),
            ("/v2/_catalog", Route::Catalog),
            ("/v2/a/b/tags/list", Route::Tags(own("a/b"))),
            ("/v2/a/manifests/v1", Route::Manifest(own("a"), own("v1"))),
            (
                "/v2/a/blobs/sha256%3Aab",
                Route::Blob(own("a"), own("sha256:ab")),
            ),
            ("/v2/a/blobs/uploads/", Route::Uploads(own("a"))),
            ("/v2/a/blobs/uploads", Route::Uploads(own("a"))),
            ("/v2/a/blobs/uploads/x", Route::Upload(own("a"), own("x"))),
            (
                "/v2/a/blobs/b/blobs/d",
                Route::Blob(own("a/blobs/b"), own("d")),
            ),
            ("/v2/a/referrers/d", Route::Referrers(own("a"), own("d"))),
        ] {
            assert_eq!(Route::parse(path).unwrap(), route, "{path}");
        }
        for path in [
            "/",
            "",
            "/v1/",
            "/v2x",
            "/v2/a",
            "/v2/a/manifests/",
            "/v2/a/blobs/x/y",
            "/v2/a/%",
            "/v2/%zz/blobs/x",
        ] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
        assert!(Route::parse(&format!("/v2/{}/tags/list", "a".repeat(9000))).is_err());
        let query = Query::parse(Some("n=5&last=a%2Fb+c&x&%=1"));
        assert_eq!(
            (query.get("n"), query.get("last")),
            (Some("5"), Some("a/b c"))
        );
        assert_eq!((query.get("x"), query.get("y")), (Some(""), None));
    }
}
