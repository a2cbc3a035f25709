//! Names that do not fit a header: GNU's long names, and what a PAX record says besides.

use super::{TarError, pax};

/// A long name ends at its NUL; GNU tar writes exactly one.
pub(super) fn long_name(mut content: Vec<u8>, at: u64) -> Result<Vec<u8>, TarError> {
    while content.last() == Some(&0) {
        content.pop();
    }
    if content.is_empty() || content.contains(&0) {
        return Err(pax("bad long name", at));
    }
    Ok(content)
}

/// A name given in both ways must be the same: which one wins depends on the reader.
pub(super) fn choose(
    record: Option<Vec<u8>>,
    long: Option<Vec<u8>>,
    at: u64,
) -> Result<Option<Vec<u8>>, TarError> {
    match (record, long) {
        (Some(a), Some(b)) if a != b => Err(pax("two different long names", at)),
        (record, long) => Ok(record.or(long)),
    }
}
