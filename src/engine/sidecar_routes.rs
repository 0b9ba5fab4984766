//! Routes of sidecars.
