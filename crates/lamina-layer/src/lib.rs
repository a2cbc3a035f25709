//! Layer tars to trees and back: PAX and GNU forms, whiteouts, extended attributes, diff of an upper directory.

#![forbid(unsafe_code)]
