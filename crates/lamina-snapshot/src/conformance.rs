//! What every storage mode must do, as functions over a factory.
