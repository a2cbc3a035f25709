//! An overlay upper directory back to a list of changes.
