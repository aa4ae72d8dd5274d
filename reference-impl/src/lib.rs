//! The reference devices.
