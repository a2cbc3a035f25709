//! `config.json` read in two parts: all but the system call filter at once, the filter when it is
//! wanted.
//!
//! Nine tenths of the document are names of system calls. They are needed when the filter is
//! compiled, which the parent does while init works; until then their text is only kept.

use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An OCI configuration.
#[derive(Debug)]
pub struct Document {
    /// Everything but `linux.seccomp`.
    pub spec: Spec,
    /// The text of `linux.seccomp`.
    pub filter: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    linux: Option<LinuxOutline<'a>>,
}

#[derive(Deserialize)]
struct LinuxOutline<'a> {
    #[serde(borrow)]
    seccomp: Option<&'a RawValue>,
}

impl Document {
    /// Reads a configuration. What is wrong in the filter is found when it is compiled.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let outline: Outline<'_> = serde_json::from_slice(text)?;
        let filter = outline.linux.and_then(|linux| linux.seccomp);
        let Some(filter) = filter else {
            let spec = serde_json::from_slice(text)?;
            return Ok(Self { spec, filter: None });
        };
        let start = filter.get().as_ptr().addr() - text.as_ptr().addr();
        let end = start + filter.get().len();
        let short = [&text[..start], b"null", &text[end..]].concat();
        Ok(Self {
            spec: serde_json::from_slice(&short)?,
            filter: Some(filter.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxSeccomp;

    use super::*;

    #[test]
    fn the_parts_make_the_whole() {
        let mut linux = oci_spec::runtime::Linux::default();
        let capabilities = crate::spec_default::CAPABILITIES.into_iter().collect();
        linux.set_seccomp(Some(crate::spec_default::seccomp(&capabilities)));
        let mut whole = Spec::default();
        whole.set_linux(Some(linux));
        let text = serde_json::to_vec_pretty(&whole).unwrap();
        let Document { mut spec, filter } = Document::parse(&text).unwrap();
        assert_ne!(spec, whole);
        let filter: LinuxSeccomp = serde_json::from_str(filter.unwrap().get()).unwrap();
        let mut linux = spec.linux().clone().unwrap();
        linux.set_seccomp(Some(filter));
        spec.set_linux(Some(linux));
        assert_eq!(spec, whole);
    }

    #[test]
    fn a_document_without_a_filter_is_read_as_it_is() {
        for text in [
            r#"{"ociVersion":"1.2.0"}"#,
            r#"{"ociVersion":"1.2.0","linux":null}"#,
            r#"{"ociVersion":"1.2.0","linux":{"seccomp":null}}"#,
        ] {
            let document = Document::parse(text.as_bytes()).unwrap();
            assert!(document.filter.is_none(), "{text}");
            let spec: Spec = serde_json::from_str(text).unwrap();
            assert_eq!(document.spec, spec);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"linux":{"seccomp":}}"#,
            r#"{"linux":7}"#,
            "\u{fffd}",
        ] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
