//! Whatever the other side sends, parsers answer and do not panic: the shipped binary aborts.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use ureq::http::{HeaderMap, HeaderValue};

use crate::auth::Challenge;
use crate::document::Document;
use crate::status;
use crate::url::Url;

fn headers(name: &'static str, value: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.insert(name, value);
    }
    headers
}

proptest! {
    #[test]
    fn locations_stay_on_http(text in "\\PC{0,60}", tail in "[a-z:/?#@.\\[\\]%0-9-]{0,40}") {
        let base: Url = "https://r.test:5000/v2/a/blobs/x?y=1".parse().unwrap();
        for location in [&text, &tail] {
            if let Ok(url) = base.join(location) {
                let shown = url.to_string();
                prop_assert!(shown.starts_with("http"));
                // What we show, send and compare is one thing.
                prop_assert_eq!(shown.parse::<Url>().unwrap(), url);
            }
        }
    }

    #[test]
    fn challenges(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "(Bearer |Basic |[a-z]{1,4}=|[\",=\\\\ ]){0,20}") {
        Challenge::choose(&headers("www-authenticate", &bytes));
        Challenge::choose(&headers("www-authenticate", text.as_bytes()));
    }

    #[test]
    fn retry_after(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{0,10} GMT") {
        status::retry_after(&headers("retry-after", &bytes), UNIX_EPOCH);
        status::retry_after(&headers("retry-after", text.as_bytes()), UNIX_EPOCH);
    }

    #[test]
    fn documents(bytes in prop::collection::vec(any::<u8>(), 0..200), label in "\\PC{0,40}") {
        prop_assert!(Document::parse(&bytes, Some(&label)).is_err());
    }
}
