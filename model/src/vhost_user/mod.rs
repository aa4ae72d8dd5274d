//! vhost-user: the protocol between a front-end that owns guest memory and a back-end that
//! processes its rings.
pub mod wire;
